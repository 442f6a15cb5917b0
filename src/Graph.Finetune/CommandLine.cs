using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Help;
using System.Linq;
using Graph.Finetune.Commands;
using Graph.Runtime;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;

namespace Graph.Finetune;

/// <summary>
/// The command line around compiled models.
/// Exit codes: 0 done, 1 a fault of this program, 2 usage or configuration, 3 data or model file, 4 does not fit in memory, 5 device, 6 diverged,
/// 128 + signal when a signal ended the run after it was saved. Every error is one sentence; GRAPH_DEBUG adds the stack trace.
/// </summary>
public static class CommandLine
{
    public static int Run(string[] args, IReadOnlyList<CompiledModel> models) => Run(args, models, Terminal.OfConsole());

    public static int Run(IReadOnlyList<string> args, IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        try
        {
            var root = Root(models, terminal, out var config);
            // A token that begins with @ is a path, not a file of more options: that is what --config is for.
            var parser = new ParserConfiguration { ResponseFileTokenReplacer = null };
            var result = root.Parse(args, parser);
            if (result.Action is not HelpAction && result.GetResult(config) is { Implicit: false, Errors: var faults } && !faults.Any())
                result = root.Parse([.. args, .. ConfigFile.Arguments(result.GetRequiredValue(config), root, result)], parser);
            var invocation = new InvocationConfiguration { Output = terminal.Out, Error = terminal.Error, EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null };
            if (args.Count == 0) return root.Parse(["--help"], parser).Invoke(invocation);
            if (result.Errors.Count > 0 && result.Action is not HelpAction) throw new UsageException(Sentence(result.Errors[0].Message, result));
            return result.Invoke(invocation);
        }
        catch (Exception e)
        {
            var (code, message) = e switch
            {
                FinetuneException known => (known.ExitCode, known.Message),
                WeightException => (3, e.Message),
                DeviceMemoryException => (4, e.Message),
                OutOfMemoryException => (4, $"the machine has no memory left: {e.Message}"),
                DeviceException => (5, e.Message),
                _ => (1, $"this is a fault of the program: {e.GetType().Name}: {e.Message}; GRAPH_DEBUG=1 shows where"),
            };
            var line = Terminal.Plain(message.ReplaceLineEndings(" ").TrimEnd());
            terminal.Error.WriteLine("error: " + line + (line.EndsWith('.') ? "" : "."));
            if (Terminal.DebugLevel > 0) terminal.Error.WriteLine(e);
            return code;
        }
    }

    /// <summary>The verbs with all their options; nothing of a model is read before its verb runs.</summary>
    internal static RootCommand Root(IReadOnlyList<CompiledModel> models, Terminal terminal, out Option<string> config)
    {
        config = OptionKinds.Checked(new Option<string>("--config") { HelpName = "FILE", Recursive = true,
            Description = "JSON file with comments in which every option can stand, by its name without dashes; options win over it" });
        var root = new RootCommand($"Finetunes the compiled models {string.Join(", ", models.Select(m => m.Name))} with LoRA.")
        {
            TrainCommand.Create(models, terminal),
            PlanCommand.Create(models, terminal),
            EvalCommand.Create(models, terminal),
            ReportCommand.Create(terminal),
            StudyCommand.Create(models, terminal),
            TokenizeCommand.Create(terminal),
            DataCommand.Create(terminal),
            KernelsCommand.Create(models, terminal),
            ScheduleCommand.Create(models, terminal),
            BenchCommand.Create(models, terminal),
            CompileCommand.Create(models, terminal),
            DoctorCommand.Create(models, terminal),
        };
        root.Add(config);
        return root;
    }

    static string Sentence(string message, ParseResult result)
    {
        var path = string.Join(' ', Verbs(result.CommandResult).Reverse());
        var command = result.CommandResult.Command;
        if (command.Subcommands.Count > 0 && result.UnmatchedTokens is [var wrong, ..] && !wrong.StartsWith('-')) message = $"there is no verb '{wrong}'";
        else if (command.Subcommands.Count > 0 && result.UnmatchedTokens.Count == 0) message = $"{path} needs one of {string.Join(", ", command.Subcommands.Select(c => c.Name))}";
        var hint = result.UnmatchedTokens is [var token, ..] ? Nearest.Hint(token, [.. command.Subcommands.Select(c => c.Name), .. command.Options.Select(o => o.Name)]) : "";
        return $"{message.TrimEnd('.')}{hint}; '{path} --help' explains the options.";

        static IEnumerable<string> Verbs(System.CommandLine.Parsing.SymbolResult? command)
        {
            for (; command is System.CommandLine.Parsing.CommandResult at; command = at.Parent) yield return at.Command is RootCommand ? RootCommand.ExecutableName
                : at.Command.Name;
        }
    }
}
