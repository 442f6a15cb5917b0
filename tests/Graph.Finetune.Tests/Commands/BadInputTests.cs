using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

/// <summary>Every fault ends with its exit code and one sentence, and leaves nothing behind.</summary>
public class BadInputTests
{
    const string Line = "{\"input_ids\":[5,6,7,8]}";

    sealed record Case(string Name, int Code, string Says, Func<Scratch, string, string[]> Arguments);

    static readonly Case[] Cases =
    [
        new("missing model", 3, "there is no model directory", (s, o) => Train(Data(s), o, "--model", s.Path + "/none")),
        new("no config.json", 3, "has no config.json", (s, o) => Train(Data(s), o, "--model", Model(s, m => File.Delete(m + "/config.json")))),
        new("no weights", 3, "has neither", (s, o) => Train(Data(s), o, "--model", Model(s, m => File.Delete(m + "/model.safetensors")))),
        new("truncated shard", 3, "model.safetensors", (s, o) => Train(Data(s), o, "--model", Model(s, m => Change(m + "/model.safetensors", b => b[..^100])))),
        new("header that lies", 3, "model.safetensors",
            (s, o) => Train(Data(s), o, "--model", Model(s, m => Change(m + "/model.safetensors", b => [.. BitConverter.GetBytes(1L << 60), .. b[8..]])))),
        new("config of another size", 3, "hidden_size",
            (s, o) => Train(Data(s), o, "--model", Model(s,
                m => File.WriteAllText(m + "/config.json", File.ReadAllText(m + "/config.json").Replace("\"hidden_size\": 128", "\"hidden_size\": 256"))))),
        new("unknown variant", 2, "there is no variant 'x'", (s, o) => Train(Data(s), o, "--variant", "x")),
        new("seed that is no number", 2, "random:SEED", (s, o) => Train(Data(s), o, "--model", "random:x")),
        new("no data file", 3, "there is no data file", (s, o) => Train(s.Path + "/none.jsonl", o)),
        new("empty data", 3, "holds no example", (s, o) => Train(s.File("d.jsonl"), o)),
        new("line that is no JSON", 3, "line 2,", (s, o) => Train(s.File("d.jsonl", Line, "{\"input_ids\":"), o)),
        new("too long", 3, "line 2, has 4 tokens but --seq is 3", (s, o) => Train(s.File("d.jsonl", "{\"input_ids\":[5,6,7]}", Line), o, "--seq", "3", "--batch-tokens", "64")),
        new("id outside the vocabulary", 3, "from 0 to 4095", (s, o) => Train(s.File("d.jsonl", "{\"input_ids\":[5,4096]}"), o)),
        new("no label", 3, "nothing to learn", (s, o) => Train(s.File("d.jsonl", "{\"input_ids\":[5,6],\"labels\":[-100,-100]}"), o)),
        new("text without a tokenizer", 3, "--tokenizer", (s, o) => Train(s.File("d.jsonl", "{\"text\":\"a\"}"), o, "--model", "random:0")),
        new("missing tokenizer", 3, "there is no tokenizer", (s, o) => Train(s.File("d.jsonl", "{\"text\":\"a\"}"), o, "--tokenizer", s.Path + "/none")),
        new("micro-batch below a row", 2, "at least one sequence", (s, o) => Train(Data(s), o, "--seq", "64", "--batch-tokens", "32")),
        new("no step", 2, "--steps is '0'", (s, o) => Train(Data(s), o, "--steps", "0")),
        new("steps and epochs", 2, "leave one out", (s, o) => Train(Data(s), o, "--steps", "1", "--epochs", "1")),
        new("no number", 2, "--lr is 'fast'", (s, o) => Train(Data(s), o, "--lr", "fast")),
        new("number with a comma", 2, "--lr is '0,1'", (s, o) => Train(Data(s), o, "--lr", "0,1")),
        new("unknown choice", 2, "--schedule is 'step'", (s, o) => Train(Data(s), o, "--schedule", "step")),
        new("unknown option", 2, "--vrma", (s, o) => Train(Data(s), o, "--vrma", "16GiB")),
        new("budget below the least", 4, "--batch-tokens", (s, o) => Train(Data(s), o, "--vram", "1MiB")),
        new("budget above the memory", 4, "for this process; lower --vram", (s, o) => Train(Data(s), o, "--vram", "512TiB")),
        new("budget of nothing", 2, "--vram is '0'", (s, o) => Train(Data(s), o, "--vram", "0")),
        new("negative budget", 2, "--vram is '-1GiB'", (s, o) => Train(Data(s), o, "--vram=-1GiB")),
        new("absurd budget", 2, "--vram is '99999TiB'", (s, o) => Train(Data(s), o, "--vram", "99999TiB")),
        new("budget without a number", 2, "--vram is 'GiB'", (s, o) => Train(Data(s), o, "--vram", "GiB")),
        new("evaluations of nothing", 2, "none without --eval-data", (s, o) => Train(Data(s), o, "--eval-every", "3")),
        new("minimum of a constant rate", 2, "--min-lr shapes a learning rate that falls", (s, o) => Train(Data(s), o, "--min-lr", "1e-5")),
        new("restarts of a constant rate", 2, "--restarts shapes a learning rate that falls", (s, o) => Train(Data(s), o, "--restarts", "1", "--schedule", "constant")),
        new("documents shown twice", 2, "leave one out", (s, _) => ["data", "inspect", Data(s), "--json", "--show", "1"]),
        new("rows of no dump", 2, "--dump-every chooses rows of --dump",
            (s, _) => ["eval", .. Train(Data(s), "", "--dump-every", "3").Skip(1).Where(a => a is not ("--out" or ""))]),
        new("document longer than a planned micro-batch", 2, "--seq is 128 and --batch-tokens 64", (_, _) => ["plan", "--variant", "nano", "--seq", "128", "--batch-tokens", "64"]),
        new("document longer than a planned step", 2, "--seq is 16384 and a step has 8192 tokens",
            (_, _) => ["plan", "--variant", "nano", "--seq", "16384", "--batch-tokens", "auto"]),
        new("document longer than a timed micro-batch", 2, "--seq is 128 and --batch-tokens 64", (_, _) => ["bench", "--variant", "nano", "--seq", "128", "--batch-tokens", "64"]),
        new("timed micro-batch with padding", 2, "filled by whole rows", (_, _) => ["bench", "--variant", "nano", "--seq", "100", "--batch-tokens", "256"]),
        new("training of a study without steps", 2, "--lr is of training",
            (s, o) => ["study", .. Train(Data(s), o, "--model", "random:0", "--lr", "1e-3").Skip(3), "--variants", "nano,nano-no-attn-softcap"]),
        new("all weights of a variant that has none", 2, "must hold a variant '27b-full'", (_, _) => ["plan", "--variant", "27b", "--full"]),
        new("no output", 2, "--out", (s, _) => [.. Train(Data(s), "").Where(a => a is not ("--out" or ""))]),
        new("mistyped verb", 2, "did you mean train?", (_, _) => ["trian"]),
        new("mistyped verb's name", 2, "there is no verb 'trian'", (_, _) => ["trian", "--steps", "3"]),
        new("half a verb", 2, "data needs one of inspect", (_, _) => ["data"]),
        new("mistyped option", 2, "did you mean --steps?", (s, o) => Train(Data(s), o, "--setps", "3")),
        new("mistyped option in the config", 2, "did you mean --steps?", (s, o) => Train(Data(s), o, "--config", s.File("c.json", "{\"stpes\": 3}"))),
        new("half a surrogate pair in the config", 2, "no Unicode text", (s, o) => Train(Data(s), o, "--config", s.File("c.json", "{\"steps\": 3, \"\\ud800\": 1}"))),
        new("half a surrogate pair in a value of the config", 2, "no Unicode text", (s, o) => Train(Data(s), o, "--config", s.File("c.json", "{\"tokenizer\": \"\\ud800\"}"))),
        new("empty config", 2, "--config is ''", (s, o) => Train(Data(s), o, "--config", "")),
        new("zero character in the output", 2, "zero character",
            (s, _) => [.. Train(Data(s), "").Where(a => a is not ("--out" or "")), "--config", s.File("c.json", "{\"out\": \"a\\u0000b\"}")]),
        new("half a surrogate pair in config.json", 3, "hidden_activation",
            (s, o) => Train(Data(s), o, "--model", Model(s,
                m => File.WriteAllText(m + "/config.json", File.ReadAllText(m + "/config.json").Replace("\"gelu_pytorch_tanh\"", "\"\\ud800\""))))),
        new("half a surrogate pair in an adapter", 3, "bias", (s, o) => Train(Data(s), o, "--adapter", AdapterWith(s, "\"bias\": \"none\"", "\"bias\": \"\\ud800\""))),
        new("escape sequence in a field", 3, "\\u001B[2J", (s, o) => Train(s.File("d.jsonl", "{\"\\u001b[2J\": 1}"), o)),
        new("name of a megabyte", 2, " … ", (s, o) => Train(Data(s), o, "--config", s.File("c.json", $"{{\"{new string('x', 1 << 20)}\": 1}}"))),
        new("targets that name nothing", 2, "names no linear", (s, o) => Train(Data(s), o, "--targets", ",")),
        new("more epochs than anybody trains", 2, "--epochs is '2000000000'", (s, o) => Train(Data(s), o, "--epochs", "2000000000")),
        new("no label in any micro-batch", 3, "no micro-batch of epoch 1 has a label",
            (s, o) => Train(s.File("d.jsonl", Unlabelled), o, "--concat", "--seq", "4", "--batch-tokens", "4", "--steps", "2")),
        new("no label in any micro-batch, by epochs", 3, "no micro-batch of epoch 1 has a label",
            (s, o) => Train(s.File("d.jsonl", Unlabelled), o, "--concat", "--seq", "4", "--batch-tokens", "4")),
        new("eval without a label", 3, "no token of the data has a label",
            (s, _) => ["eval", .. Train(s.File("d.jsonl", Unlabelled), "", "--concat", "--seq", "4", "--batch-tokens", "4").Skip(1).Where(a => a is not ("--out" or ""))]),
        new("weight that is not finite", 3, "model.embed_tokens.weight has the value NaN at [4095,127]",
            (s, o) => Train(Data(s), o, "--model", Model(s, m => SetWeight(m, "model.embed_tokens.weight", float.NaN)))),
        new("weight that is infinite", 3, "model.norm.weight has the value -infinity at [127]",
            (s, o) => Train(Data(s), o, "--model", Model(s, m => SetWeight(m, "model.norm.weight", float.NegativeInfinity)))),
        new("unknown target", 2, "no linear", (s, o) => Train(Data(s), o, "--targets", "q_proj,qq")),
        new("rank too large", 2, "--rank is '257'", (s, o) => Train(Data(s), o, "--rank", "257")),
        new("missing adapter", 3, "there is no adapter directory", (s, o) => Train(Data(s), o, "--adapter", s.Path + "/none")),
        new("rank against the adapter", 2, "--rank is 4", (s, o) => Train(Data(s), o, "--adapter", Goldens.AdapterInit, "--rank", "4")),
        new("bf16 on the CPU", 2, "the CPU computes in fp32", (s, o) => Train(Data(s), o, "--dtype", "bf16")),
        new("fp32 on a GPU", 2, "--dtype is fp32", (s, o) => Train(Data(s), o, "--device", "cuda", "--dtype", "fp32")),
        new("concat without packing", 2, "leave one of the two out", (s, o) => Train(Data(s), o, "--concat", "--packing", "off")),
        new("more than the memory", 4, "would fit", (s, o) => Train(Data(s), o, "--batch-tokens", "100000000")),
        new("output is a file", 3, "cannot be written", (s, _) => Train(Data(s), Data(s) + "/out")),
        new("config that is not there", 2, "cannot be read", (s, o) => Train(Data(s), o, "--config", s.Path + "/none.json")),
        new("unknown key in the config", 2, "there is no option stepz", (s, o) => Train(Data(s), o, "--config", s.File("c.json", "{\"stepz\": 3}"))),
        new("wrong value in the config", 2, "--steps is 'many'", (s, o) => Train(Data(s), o, "--config", s.File("c.json", "{\"steps\": \"many\"}"))),
        new("list for one value in the config", 2, "takes one value", (s, o) => Train(Data(s), o, "--config", s.File("c.json", "{\"steps\": [1, 2]}"))),
        new("empty list in the config", 2, "targets is an empty list", (s, o) => Train(Data(s), o, "--config", s.File("c.json", "{\"targets\": []}"))),
        new("unknown kernel", 2, "has no kernel 'x'", (_, _) => ["kernels", "show", "x", "--variant", "nano"]),
        new("unknown CUDA target", 2, "was not built for 'sm_1'", (_, _) => ["kernels", "list", "--variant", "nano", "--target", "sm_1"]),
        new("no executable to embed in", 3, "there is no executable", (s, _) => ["compile", "--variant", "nano", "--embed", s.Path + "/none"]),
        new("tokenize without a text", 3, "line 1, has no 'text'", (s, _) => ["tokenize", "--model", Fixture.Checkpoint, "--data", Data(s)]),
    ];

    public static TheoryData<string> Names => [.. Cases.Select(c => c.Name)];

    [Theory, MemberData(nameof(Names))]
    public void Run_BadInput_SaysSoInOneSentence(string name)
    {
        var bad = Cases.Single(c => c.Name == name);
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var result = Run(bad.Arguments(scratch, output));
        Assert.Equal((bad.Code, ""), (result.Code, result.Out));
        var sentence = Assert.Single(result.Error.TrimEnd().Split('\n'));
        Assert.StartsWith("error: ", sentence);
        Assert.EndsWith(".", sentence);
        Assert.Contains(bad.Says, sentence);
        Assert.False(Directory.Exists(output), "the output directory was made");
    }

    const string Unlabelled = "{\"input_ids\":[2,3,4,5,6,7],\"labels\":[-100,-100,-100,-100,6,7]}";

    static string AdapterWith(Scratch scratch, string from, string to)
    {
        var adapter = Directory.CreateDirectory(Path.Combine(scratch.Path, "adapter")).FullName;
        foreach (var file in Directory.GetFiles(Goldens.AdapterFinal)) File.Copy(file, Path.Combine(adapter, Path.GetFileName(file)));
        File.WriteAllText(adapter + "/adapter_config.json", File.ReadAllText(adapter + "/adapter_config.json").Replace(from, to));
        return adapter;
    }

    // The last element of a tensor.
    static void SetWeight(string model, string name, float value)
    {
        var path = model + "/model.safetensors";
        long end;
        using (var file = Graph.Finetune.Checkpoints.SafetensorsFile.Open(path))
            end = new FileInfo(path).Length - file.Tensors.Values.Max(t => t.Offset + t.Length) + file.Tensors[name].Offset + file.Tensors[name].Length;
        Change(path, b =>
        {
            BitConverter.TryWriteBytes(b.AsSpan((int)end - 4), value);
            return b;
        });
    }

    static string Data(Scratch scratch) => scratch.File("data.jsonl", Line, Line);

    static string Model(Scratch scratch, Action<string> change)
    {
        var model = Directory.CreateDirectory(Path.Combine(scratch.Path, "model")).FullName;
        foreach (var file in Directory.GetFiles(Fixture.Checkpoint)) File.Copy(file, Path.Combine(model, Path.GetFileName(file)));
        change(model);
        return model;
    }

    static void Change(string file, Func<byte[], byte[]> change) => File.WriteAllBytes(file, change(File.ReadAllBytes(file)));
}
