using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Graph.Finetune.Reports;
using Graph.Finetune.Training;
using Graph.Runtime;

namespace Graph.Finetune.Commands;

/// <summary>
/// Several variants on one checkpoint and one data set: each is evaluated as <c>eval</c> does it and, with --steps, trained as <c>train</c> does it,
/// one after the other with the same options, and all are on one page.
/// What it does is what those verbs do: any line of it can be repeated by hand.
/// </summary>
static class StudyCommand
{
    const string PageName = "study.html", NumbersName = "study.json";

    public static Command Create(IReadOnlyList<CompiledModel> models, Terminal terminal)
    {
        var variants = OptionKinds.List("--variants", "NAME,…", "the models to compare, the first is what others are compared with; all that the checkpoint fits when left out");
        var output = OptionKinds.Text("--out", "DIR", "receives study.html, study.json and, with --steps, the run of each variant in a folder of its name");
        output.Required = true;
        var train = TrainCommand.Create(models, terminal);
        var options = train.Options.Where(o => o.Name is not ("--variant" or "--out" or "--dry-run" or "--epochs") && o is not System.CommandLine.Help.HelpOption).ToArray();
        var command = new Command("study",
            "Evaluates several variants on one checkpoint and one data set and, with --steps, trains each with the same seed and options; "
                + "one page compares them.") { variants, output };
        foreach (var option in options) command.Add(option);
        command.SetAction(result => Run(models, terminal, train, options, result, result.GetRequiredValue(output)!,
            [.. (result.GetValue(variants) ?? []).SelectMany(v => v.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)).Distinct()]));
        return command;
    }

    static int Run(IReadOnlyList<CompiledModel> models, Terminal terminal, Command train, IReadOnlyList<Option> options, ParseResult result, string output,
        IReadOnlyList<string> names)
    {
        string[] Given(Func<Option, bool> which) => [.. options.Where(which).Select(result.GetResult).OfType<OptionResult>().Where(r => !r.Implicit)
            .SelectMany(r => r.Tokens.Count == 0 ? [r.Option.Name] : r.Tokens.Select(t => $"{r.Option.Name}={t.Value}"))];
        string Value(string name) => result.GetResult(options.Single(o => o.Name == name))?.Tokens is [var token, ..] ? token.Value : "";

        var evalHas = EvalCommand.Create(models, terminal).Options.Select(o => o.Name).ToHashSet();
        if (Given(o => o.Name == "--steps").Length == 0
            && options.FirstOrDefault(o => result.Has(o) && o.Name != "--eval-data" && (!evalHas.Contains(o.Name) || o.Name == "--adapter")) is { } trains)
            throw new UsageException($"{trains.Name} is of training, and a study without --steps only evaluates; give --steps, or leave it out.");
        var chosen = names.Count > 0 ? [.. names.Select(n => Models.Find(models, n))] : Fitting(models, Value("--model"), terminal);
        if (chosen.Count < 2)
            throw new UsageException($"a study compares variants, but {(chosen.Count == 0 ? "none" : $"only {chosen[0].Name}")} is there to compare; "
                + "name two or more with --variants.");
        var differences = Differences(chosen);
        var evaluated = new List<(double Loss, long Labels)>();
        foreach (var model in chosen)
        {
            string[] data = Given(o => o.Name == "--eval-data") is { Length: > 0 } other ? [.. other.Select(o => "--data=" + o[(o.IndexOf('=') + 1)..])]
                : [.. Given(o => o.Name == "--data").Select(Unweighted)];
            using var text = new StringWriter();
            Invoke(EvalCommand.Create(models, terminal with { Out = text }), ["--variant=" + model.Name, "--json", .. data,
                // Of what is evaluated by itself, only the options that eval has too.
                .. Given(o => evalHas.Contains(o.Name) && o.Name is not ("--data" or "--adapter"))], terminal);
            using var json = JsonDocument.Parse(text.ToString());
            evaluated.Add((json.RootElement.GetProperty("loss").GetDouble(), json.RootElement.GetProperty("labels").GetInt64()));
            terminal.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{model.Name}: eval_loss {evaluated[^1].Loss:R}  perplexity {Math.Exp(evaluated[^1].Loss):G6}  over {evaluated[^1].Labels} labels"));
        }

        var studied = chosen.Select((m, i) => new StudiedVariant(m.Name, differences[i], evaluated[i].Loss, evaluated[i].Labels, null, null)).ToArray();
        Write();
        if (Given(o => o.Name == "--steps").Length == 0) return Done();
        for (var i = 0; i < chosen.Count; i++)
        {
            var folder = Path.Combine(output, chosen[i].Name);
            terminal.Out.WriteLine($"== {chosen[i].Name}");
            string? ended = null;
            try
            {
                if (Invoke(train, ["--variant=" + chosen[i].Name, "--out=" + folder, .. Given(_ => true)], terminal) is not 0 and var code) return code;
            }
            catch (FinetuneException e) when (e.ExitCode == 6)
            {
                // That a variant diverges is a result.
                ended = e.Message;
                terminal.Error.WriteLine($"note: {chosen[i].Name}: {Terminal.Plain(e.Message)}");
            }
            studied[i] = studied[i] with { Run = RunReport.Read(folder), Ended = ended };
            Write();
        }
        return Done();

        void Write()
        {
            try
            {
                Directory.CreateDirectory(output);
            }
            catch (Exception e) when (AtomicFiles.IsFault(e))
            {
                throw new InputException($"'{output}' cannot be made: {e.Message.TrimEnd('.')}.");
            }
            var title = $"{string.Join(", ", chosen.Select(m => m.Name))} on {Value("--model")}";
            AtomicFiles.Write((Path.Combine(output, PageName), s => s.Write(Encoding.UTF8.GetBytes(StudyPage.Html(title, studied)))),
                (Path.Combine(output, NumbersName), s => s.Write(StudyPage.Json(studied))));
        }

        int Done()
        {
            terminal.Out.WriteLine(Path.Combine(output, PageName));
            return 0;
        }
    }

    /// <summary>The models that a checkpoint fits.</summary>
    static IReadOnlyList<CompiledModel> Fitting(IReadOnlyList<CompiledModel> models, string checkpoint, Terminal terminal)
    {
        if (checkpoint.StartsWith("random:", StringComparison.Ordinal))
            throw new UsageException($"--model is {checkpoint}, which fits every variant; name those to compare with --variants.");
        var (fitting, fault) = (new List<CompiledModel>(), default(InputException));
        foreach (var model in models)
        {
            try
            {
                ModelSource.Open(model, checkpoint).Dispose();
                fitting.Add(model);
            }
            catch (InputException e)
            {
                fault ??= e;
            }
        }
        return fitting.Count > 0 || fault is null ? fitting : throw fault;
    }

    /// <summary>The fields of config.json in which the models differ, with the values of each.</summary>
    static IReadOnlyList<Fact>[] Differences(IReadOnlyList<CompiledModel> models)
    {
        var configs = models.Select(m => m.Config().ToDictionary(f => f.Key, f => Text(f.Value))).ToArray();
        var fields = configs[0].Keys.Where(k => configs.Select(c => c.GetValueOrDefault(k)).Distinct().Count() > 1).ToArray();
        return [.. configs.Select(c => fields.Select(f => new Fact(f, c.GetValueOrDefault(f, "–"))).ToArray())];

        static string Text(object? value) => value switch
        {
            null => "none",
            Array list => string.Join(' ', list.Cast<object>().Select(v => Convert.ToString(v, CultureInfo.InvariantCulture))),
            _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
        };
    }

    // eval takes files without weights.
    static string Unweighted(string option) => BatchOptions.Sources([option[(option.IndexOf('=') + 1)..]]) is [var source] ? "--data=" + source.Path : option;

    static int Invoke(Command command, string[] arguments, Terminal terminal)
    {
        var result = command.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (result.Errors.Count > 0) throw new UsageException(result.Errors[0].Message.TrimEnd('.') + ".");
        return result.Invoke(new InvocationConfiguration { Output = terminal.Out, Error = terminal.Error, EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = null });
    }
}
