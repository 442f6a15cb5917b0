using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using TorchSharp;

namespace Graph.Fuzz;

/// <summary>Many models through compiler, runtime and reference.</summary>
public static class Fuzzer
{
    // Tensors here have some hundred elements: more threads inside an op only wait for each other.
    static Fuzzer() => torch.set_num_threads(1);

    /// <summary>Verdicts in the models' order.</summary>
    /// <param name="begun">Called with a model's place before it runs: what is printed there names the model that ended the process.</param>
    public static IReadOnlyList<Verdict> Check(IReadOnlyList<Model> models, Action<int>? begun = null) => Check([.. models.Select(Case.Of)], begun);

    /// <param name="decisions">Random save, recompute and offload decisions beside "save everything".</param>
    public static IReadOnlyList<Verdict> Check(IReadOnlyList<Case> models, Action<int>? begun = null, int decisions = Graph.Fuzz.Check.RandomDecisions)
    {
        var verdicts = new Verdict[models.Count];
        using var batch = new CompiledBatch(models);
        Parallel.For(0, models.Count, i =>
        {
            begun?.Invoke(i);
            try
            {
                verdicts[i] = Graph.Fuzz.Check.Run(batch.Models[i], decisions);
            }
            catch (Exception e)
            {
                verdicts[i] = new Verdict(Outcome.Reference, $"{e.GetType().Name}: {e.Message}\n{e.StackTrace}");
            }
        });
        return verdicts;
    }

    /// <summary>A failure as text: seed, what is wrong, and the smallest model that shows it.</summary>
    public static string Report(int seed, Model model, Verdict verdict, TimeSpan limit)
    {
        var (smallest, smallestVerdict) = Shrink.Run(model, verdict, limit);
        return $"seed {seed}: {verdict.Outcome}: {string.Join("\n", smallestVerdict.Message.Split('\n').Take(4))}\n{PrintModel.Run(smallest, "Seed" + seed)}";
    }
}
