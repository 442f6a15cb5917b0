using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Graph.Dsl;

namespace Graph.Fuzz;

/// <summary>A model's trace: the DSL's recorder runs its steps.</summary>
public static class Replay
{
    public static IReadOnlyList<TraceNode> Trace(Model model) => Recorder.Record(() => new Steps(model));

    /// <summary>The same lines as the generator's interpreter writes them.</summary>
    public static Generator.Tracing.TraceNode[] ForCompiler(IReadOnlyList<TraceNode> trace) =>
        [.. trace.Select(n => new Generator.Tracing.TraceNode(n.Id, n.Op, n.Inputs, n.Attributes, n.Scope))];

    sealed class Steps(Model model) : LanguageModel
    {
        public override ConfigField[] CheckpointConfig => [];

        public override Tensor Forward(Tensor ids)
        {
            var values = new Tensor[model.Steps.Count];
            values[0] = ids;
            for (var i = 1; i < values.Length; i++)
            {
                var step = model.Steps[i];
                using (step.Scope.Length > 0 ? Scope(step.Scope) : null) values[i] = OpTable.Find(step.Op).Record(step, [.. step.Inputs.Select(input => values[input])]);
            }
            return values[^1];
        }
    }
}

/// <summary>A model as C# of the DSL, for an issue or a test.</summary>
public static class PrintModel
{
    static readonly HashSet<string> Leaves = ["param", "lora_a", "lora_b", "lora_scale", "const", "typed_const", "positions"];

    public static string Run(Model model, string name)
    {
        var text = new StringBuilder();
        text.Append("public sealed class ").Append(name).Append(" : LanguageModel\n{\n    public static Setup Setup => ")
            .Append(Describe(model.Setup)).Append(";\n\n    public override ConfigField[] CheckpointConfig => [];\n\n    public override Tensor Forward(Tensor ids)\n    {\n");
        var uses = new int[model.Steps.Count];
        foreach (var step in model.Steps) foreach (var input in step.Inputs) uses[input]++;
        var values = new string[model.Steps.Count];
        values[0] = "ids";
        var scope = "";
        var declared = model.Steps.Select((s, i) => (s, i)).Where(p => p.s.Scope.Length > 0 && !Leaves.Contains(p.s.Op)).Select(p => "x" + p.i).ToArray();
        if (declared.Length > 0) text.Append("        Tensor ").Append(string.Join(", ", declared)).Append(";\n");
        for (var i = 1; i < values.Length; i++)
        {
            var step = model.Steps[i];
            var value = OpTable.Find(step.Op).Text(step, [.. step.Inputs.Select(input => values[input])]);
            // A tensor with one operand at least: numbers alone would be added as numbers.
            if (Leaves.Contains(step.Op))
            {
                values[i] = step.Op == "const" && step.Number < 0 ? "(" + value + ")" : value;
                continue;
            }
            values[i] = "x" + i;
            if (step.Inputs.Length == 2 && step.Inputs.All(input => model.Steps[input].Op == "const")) value = "(Tensor)" + value;
            if (step.Scope != scope)
            {
                if (scope.Length > 0) text.Append("        }\n");
                if (step.Scope.Length > 0) text.Append("        using (Scope(\"").Append(step.Scope).Append("\"))\n        {\n");
                scope = step.Scope;
            }
            text.Append(scope.Length > 0 ? "            " : i == values.Length - 1 ? "        return " : "        var ");
            if (scope.Length > 0 || i < values.Length - 1) text.Append(values[i]).Append(" = ");
            text.Append(value).Append(";\n");
        }
        if (scope.Length > 0) text.Append("        }\n        return x").Append(values.Length - 1).Append(";\n");
        return text.Append("    }\n}\n").ToString();
    }

    static string Describe(Setup s) =>
        FormattableString.Invariant($"new({s.Tokens}, [{string.Join(", ", s.Documents.Select(d => "[" + string.Join(", ", d) + "]"))}], {s.Unlabelled}, ")
        + "new Dictionary<string, int> { "
        + string.Join(", ", s.Ranks.Select(r => $"[\"{r.Key}\"] = {r.Value}"))
        + FormattableString.Invariant($" }}, {OpTable.Number(s.LoraScale)}, {(s.LogitsRows is { } rows ? rows : "null")}, {s.Seed})")
        + (s.Full ? " with { Full = true }" : "") + (s.Dropout > 0 ? FormattableString.Invariant($" with {{ Dropout = {s.Dropout} }}") : "")
        + (s.OwnScales ? " with { OwnScales = true }" : "");
}
