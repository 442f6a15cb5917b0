using System;
using System.Diagnostics;
using System.Linq;
using Graph.Runtime.Devices;
using Graph.Runtime.Schedules;

namespace Graph.Gpu.Tests;

/// <summary>
/// What can be known of the kernel checks without a GPU: every case is built, another composition passes
/// the rule in the GPU's place, and a wrong scale, a lost last row and a NaN do not.
/// </summary>
static class HostCheck
{
    internal static int Run(string[] variants)
    {
        var wrong = 0;
        foreach (var same in KernelJob.All().Where(j => j.HasCases && (variants.Length == 0 || variants.Contains(j.Variant))).GroupBy(j => (j.Variant, j.Act, j.Name)))
        {
            var job = same.First();
            Elem.Act = job.Act;
            var clock = Stopwatch.StartNew();
            var seed = 1;
            double worst = 0, least = double.MaxValue;
            foreach (var size in KernelCases.Sizes(job.Variant, job.Source.Info).Where(s => s.Rows <= 129))
            {
                var test = KernelCases.Of(job.Variant, job.Source.Info, size, seed++);
                var (reference, compositions) = KernelChecks.Expected(test);
                var other = test.OnCpu(Models.Reference(job.Variant).Composition(test.KvHeads)[test.Kernel], new Random(99));
                for (var o = 0; o < reference.Length; o++)
                {
                    var output = test.Outputs[o];
                    Errors Rule(Func<float, int, float> spoil) => ErrorRule.Of(output.Name, reference[o], [.. compositions.Select(c => c[o])],
                        [.. other[o].Select((v, i) => spoil(output.Type == ElementType.Act ? Elem.Round(v) : v, i))], output.Factor, output.Type == ElementType.Act,
                            output.Columns);
                    var errors = Rule((v, _) => v);
                    worst = Math.Max(worst, errors.OfAllowed);
                    if (errors.OfAllowed > 1) Lines.Write($"FAIL {test.Label}: {errors.Where}");
                    // Single tokens have gradients of 0, and scores at the cap gradients that are mostly cancellation.
                    if (!size.Hot && size.Documents.Any(d => d > 1)) least = Math.Min(least, Rule((v, _) => v * 1.1f).OfAllowed);
                }
            }
            if (worst > 1 || least < 1) wrong++;
            var verdict = worst > 1 || least < 1 ? "FAIL" : "ok  ";
            Lines.Write(FormattableString.Invariant(
                $"{verdict} {job.Variant} {job.Act} {job.Name}: {worst:F2} of allowed, a tenth too much is {least:F1} ({clock.ElapsedMilliseconds} ms)"));
        }
        return wrong == 0 ? 0 : 1;
    }
}
