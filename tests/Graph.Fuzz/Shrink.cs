using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;

namespace Graph.Fuzz;

/// <summary>
/// Makes a failing model smaller while it fails in the same way: greedy, by structure. A library that shrinks by drawing again (CsCheck) would have to compile
/// thousands of models to find one that is smaller; here every candidate is the model with one thing less.
/// </summary>
public static class Shrink
{
    const int Batch = 24;

    /// <param name="limit">Time after which the smallest so far is returned.</param>
    public static (Model Model, Verdict Verdict) Run(Model model, Verdict verdict, TimeSpan limit)
    {
        var clock = Stopwatch.StartNew();
        for (var smaller = true; smaller && clock.Elapsed < limit;)
        {
            smaller = false;
            // Large cuts first. After a hit the rest of the list is of a model that is gone, so a new list is made.
            foreach (var candidates in Candidates(model).Where(c => c.Types() is not null).Chunk(Batch))
            {
                var verdicts = Verdicts(candidates, verdict.Outcome);
                var hit = Enumerable.Range(0, candidates.Length).Cast<int?>().FirstOrDefault(i => verdicts[i!.Value].IsFailure && verdicts[i.Value].Class == verdict.Class);
                if (hit is { } i)
                {
                    (model, verdict, smaller) = (candidates[i], verdicts[i], true);
                    break;
                }
                if (clock.Elapsed > limit) break;
            }
        }
        return (model, verdict);
    }

    /// <summary>As far as the failure that is looked for: what the compiler refuses needs no run.</summary>
    static IReadOnlyList<Verdict> Verdicts(Model[] candidates, Outcome outcome) => outcome is Outcome.Refused or Outcome.Crash
        ? [.. candidates.AsParallel().AsOrdered().Select(c => CompiledBatch.Compile(Case.Of(c), []).Failure ?? new Verdict(Outcome.Right))]
        : Fuzzer.Check([.. candidates.Select(Case.Of)], decisions: outcome == Outcome.Bits ? Check.RandomDecisions : 0);

    static IEnumerable<Model> Candidates(Model model)
    {
        var steps = model.Steps;
        var types = model.Types()!;
        if (model.Live().Any(live => !live)) yield return model.WithoutDead();
        if (steps.Any(s => s.Scope.Length > 0)) yield return model with { Steps = [.. steps.Select(s => s with { Scope = "" })] };
        // A value in another's place: the earliest first, because it takes the most with it.
        for (var i = steps.Count - 1; i > 0; i--)
        {
            if (!types[i].IsPerToken && types[i] != ValueType.Scalar) continue;
            var seen = 0;
            for (var j = 0; j < i && seen < 6; j++)
            {
                if (types[j] != types[i] || !(types[j].IsPerToken || steps[i].Inputs.Contains(j))) continue;
                seen++;
                yield return (i == steps.Count - 1 ? model with { Steps = [.. steps.Take(j + 1)] }
                    : Change(model, s => s with { Inputs = [.. s.Inputs.Select(input => input == i ? j : input)] })).WithoutDead();
            }
        }
        foreach (var smaller in Setups(model.Setup)) yield return model with { Setup = smaller };
        for (var i = 0; i < steps.Count; i++)
        {
            var (at, step) = (i, steps[i]);
            Model With(Step other) => model with { Steps = [.. steps.Select((s, j) => j == at ? other : s)] };
            if (step.Score is { } score)
            {
                yield return With(step with { Score = null });
                foreach (var smaller in score.Smaller()) yield return With(step with { Score = smaller });
            }
            if (step is { Op: "attention", Count: not null }) yield return With(step with { Count = null });
            if (step.Op is "const" or "typed_const" && step.Number != 2) yield return With(step with { Op = "const", Number = 2 });
            if (step is { Op: "attention", Number: not 1 }) yield return With(step with { Number = 1 });
        }
        // One number everywhere it is a dimension.
        var numbers = steps.SelectMany(s => s.Dims ?? []).Concat(steps.Where(s => s.Op == "split_heads").Select(s => s.Count!.Value)).Distinct().Order().ToArray();
        foreach (var number in numbers)
            foreach (var other in new[] { 1, 2, 4, 8, 16, number / 16 * 8 }.Where(n => n > 0 && n < number).Distinct())
            {
                yield return Change(model, s => s with { Dims = s.Dims?.Select(d => d == number ? other : d).ToArray(),
                    Count = s.Op == "split_heads" && s.Count == number ? other : s.Count });
                yield return Change(model, s => s with { Dims = s.Dims?.Select(d => d == number ? other : d).ToArray() });
            }
    }

    static Model Change(Model model, Func<Step, Step> change) => model with { Steps = [.. model.Steps.Select(change)] };

    static IEnumerable<Setup> Setups(Setup s)
    {
        if (s.Documents.Length > 1) yield return s with { Documents = [s.Documents[0]] };
        if (s.LogitsRows is not null) yield return s with { LogitsRows = null };
        if (s.Unlabelled > 0) yield return s with { Unlabelled = 0 };
        foreach (var tokens in new[] { 1, 2, 3, 4, s.Tokens / 2 }.Where(t => t > 0 && t < s.Tokens).Distinct())
            yield return s with { Tokens = tokens, Documents = [.. s.Documents.Select(_ => new[] { tokens })], LogitsRows = null };
        if (s.Documents.Any(d => d.Length > 1)) yield return s with { Documents = [.. s.Documents.Select(_ => new[] { s.Tokens })] };
        if (s.Ranks.Values.Any(r => r != 1)) yield return s with { Ranks = s.Ranks.ToDictionary(r => r.Key, _ => 1) };
        if (s.LoraScale != 1) yield return s with { LoraScale = 1 };
    }
}
