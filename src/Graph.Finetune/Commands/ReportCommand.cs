using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune.Reports;

namespace Graph.Finetune.Commands;

/// <summary>The page of a run, or of several beside each other, from their folders alone; a run that goes on meanwhile is not disturbed.</summary>
static class ReportCommand
{
    public static Command Create(Terminal terminal)
    {
        var folders = new Argument<string[]>("DIR") { Description = "the --out of a run; several are compared on one page", Arity = ArgumentArity.OneOrMore };
        var html = OptionKinds.Text("--html", "FILE", "the page; DIR/report.html when left out, and comparison.html here for several runs");
        var command = new Command("report",
            "Writes the page of a run: losses, learning rate, gradient, speed, memory, data and settings. With several runs it compares them.") { folders, html };
        command.SetAction(result =>
        {
            var runs = result.GetRequiredValue(folders);
            var file = result.GetValue(html) ?? (runs.Length == 1 ? Path.Combine(runs[0], RunReport.FileName) : "comparison.html");
            Write(runs, file);
            terminal.Out.WriteLine(file);
        });
        return command;
    }

    /// <exception cref="InputException">A folder is none of a run, or the page cannot be written.</exception>
    public static void Write(IEnumerable<string> folders, string file)
    {
        var page = RunReport.Page([.. folders.Select(RunReport.Read)]);
        AtomicFiles.Write((file, stream => stream.Write(Encoding.UTF8.GetBytes(page))));
    }
}
