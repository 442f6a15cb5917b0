using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Linq;
using System.Text;
using Graph.Finetune;
using Graph.Finetune.Commands;
using Graph.Finetune.Training;

namespace Graph.Parsers.Fuzz;

/// <summary>Options: a command line (one argument a line) and the file of --config.</summary>
static class CommandParsers
{
    public static IEnumerable<Parser> Of(string repository)
    {
        var nano = GraphModels.All.Where(m => m.Name == "nano").ToArray();
        return
        [
            new Parser("command line", [.. Lines.Select(l => AllParsers.Utf8(l.Replace(' ', '\n')))], _ =>
            {
                var options = new TrainOptions(nano);
                return bytes => options.Read(Encoding.UTF8.GetString(bytes).Split('\n'));
            }),
            new Parser("verb", [.. Lines.Select(l => AllParsers.Utf8(l.Replace(' ', '\n')))], folder =>
            {
                var root = CommandLine.Root(nano, new Terminal(TextWriter.Null, TextWriter.Null, false), out var _);
                return bytes => Refuse(root.Parse(Encoding.UTF8.GetString(bytes).Split('\n'), new ParserConfiguration { ResponseFileTokenReplacer = null }));
            }),
            Parser.OfFile("--config", [AllParsers.File(repository, "samples", "nano.jsonc"),
                AllParsers.Utf8("""{"$schema": "x", "data": ["a.jsonl", "b.jsonl:2"], /* c */ "lr": 1e-3, "rslora": true,"""
                    + """ "rank-pattern": "mlp.*=8", "vram": "16GiB", "steps": 5, "model": "m", "out": "o",}""")], "c.jsonc", folder =>
            {
                var root = CommandLine.Root(nano, new Terminal(TextWriter.Null, TextWriter.Null, false), out var config);
                string[] given = ["train", "--config", Path.Combine(folder, "c.jsonc")];
                return () => Refuse(root.Parse([.. given, .. ConfigFile.Arguments(given[2], root, root.Parse(given))]));
            }),
        ];
    }

    static readonly string[] Lines =
    [
        "train --variant nano --model random:0 --data a.jsonl b.parquet:0.5 --out o --seq 128 --batch-tokens auto --step-tokens 512 "
            + "--rank 8 --alpha 16 --dropout 0.1 --targets q_proj,mlp.* --layers 0-2,3 --rank-pattern mlp.*=8",
        "train --model m --data a.jsonl --vram 16GiB --host-memory 1.5e3MB --stream-weights on --offload off --concat --loss-on completion "
            + "--over-length split --packing off --grad-accum 4 --alpha-pattern q_proj=32.5 --rslora",
        "train --model random:1 --data=a.jsonl:2 --batch-tokens=64 --targets=(q|k)_proj --layers=1 --adapter nothere",
    ];

    static void Refuse(ParseResult result)
    {
        if (result.Errors.Count > 0) throw new UsageException(result.Errors[0].Message);
    }

    /// <summary>Options of train that mean more than their type, with what reads them.</summary>
    sealed class TrainOptions
    {
        readonly SourceOptions source;
        readonly BatchOptions batch = new();
        readonly AdapterOptions adapter = new();
        readonly StepOptions step = new();
        readonly HostOptions host = new();
        readonly ModelSource random;
        readonly RootCommand root = new();

        public TrainOptions(IReadOnlyList<Graph.Runtime.CompiledModel> models)
        {
            (source, random) = (new SourceOptions(models), ModelSource.Open(models[0], "random:0"));
            var train = new Command("train") { OptionKinds.Text("--out", "DIR", "") };
            source.AddTo(train);
            batch.AddTo(train);
            adapter.AddTo(train);
            step.AddTo(train);
            host.AddTo(train);
            root.Add(train);
        }

        public void Read(string[] arguments)
        {
            var result = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
            Refuse(result);
            if (result.CommandResult.Command.Name != "train" || result.Action is System.CommandLine.Help.HelpAction) return;
            source.Read(result);
            var data = batch.Read(result);
            step.Read(result, batch.Asked(result));
            host.Read(result);
            adapter.Read(result, random);
            if (data.Seq < 1 || data.BatchTokens < data.Seq) throw new UnnoticedException($"--seq {data.Seq} --batch-tokens {data.BatchTokens}");
        }
    }
}
