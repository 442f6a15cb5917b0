using System;
using System.Linq;
using Graph.Runtime.Cpu;
using Graph.Runtime.Devices;
using Graph.Runtime.Execution;
using Graph.Runtime.Planning;
using Graph.Runtime.Schedules;
using Xunit;

namespace Graph.Runtime.Tests;

/// <summary>Ids, labels and positions that a table has no row for are refused before any kernel reads them.</summary>
public class EmbeddingTablesTests
{
    const int T = 40;

    // A second table, smaller, for the ids, and one of positions.
    static readonly Schedule Three = ScheduleText.Parse(TinySchedule.Text(1)
        .Replace("tensor labels", "tensor small weight act[50,64]\ntensor places weight act[12,64]\ntensor positions input i32[T]\ntensor labels", StringComparison.Ordinal)
        .Replace("x.0 ids table\n", "x.0 ids table ids small positions places\n", StringComparison.Ordinal));

    [Fact]
    public void Of_SeveralTables_AreTheSmallestOfEachInput() =>
        Assert.Equal([new("ids", "small", 50), new("positions", "places", 12), new("labels", "table", 96)], EmbeddingTables.Of(Three));

    [Theory]
    [InlineData("ids", 49, null)]
    [InlineData("ids", 50, "id 50 at position 1, but small has 50 rows, from 0 to 49")]
    [InlineData("ids", -1, "id -1 at position 1, but small has 50 rows")]
    [InlineData("ids", int.MinValue, "id -2147483648 at position 1, but small has 50 rows")]
    [InlineData("labels", 95, null)]
    [InlineData("labels", -100, null)]
    [InlineData("labels", 96, "label 96 at position 1, but table has 96 rows")]
    [InlineData("positions", 12, "position 12 at position 1, but places has 12 rows")]
    [InlineData("doc_end", 1000, null)]
    public void Fault_OfAValue_NamesItAndTheTable(string input, int value, string? says)
    {
        var fault = EmbeddingTables.Fault(EmbeddingTables.Of(Three), input, [3, value, 1000]);
        if (says is null) Assert.DoesNotContain($" {value} ", fault ?? "", StringComparison.Ordinal);
        else Assert.StartsWith(says, fault, StringComparison.Ordinal);
    }

    [Fact]
    public void Begin_WhatATableHasNoRowFor_IsRefused()
    {
        using var device = new CpuDevice();
        // What a step would launch is not reached.
        CpuKernelEntry none = new((_, _) => throw new InvalidOperationException("a kernel ran"), true);
        device.Load(new[] { "embedding", "norm", "glu_add", "glu_adjoint", "norm_adjoint", "cross_entropy" }.ToDictionary(n => n, _ => none));
        using var session = new TrainingSession(device, ExecutionPlan.Create(Three, new PlanOptions(T, RankTable.Create(Three, _ => 2), ActType.F32, 1)));
        void IsRefused(string says, params (int[] Ids, int[] Labels)[] documents) =>
            Assert.Contains(says, Assert.Throws<ArgumentException>(() => session.Begin([MicroBatch.Pack(T, documents)])).Message, StringComparison.Ordinal);

        IsRefused("step: micro-batch 0 has id 50 at position 2, but small has 50 rows, from 0 to 49.", ([1, 2, 50], [2, 3, -100]));
        IsRefused("step: micro-batch 0 has label 96 at position 0, but table has 96 rows", ([1, 2], [96, -100]));
        IsRefused("step: micro-batch 0 has position 12 at position 14, but places has 12 rows", ([1, 2], [3, -100]), (new int[13], new int[13]));
        Assert.Contains("id -1", Assert.Throws<ArgumentException>(() => session.Evaluate(MicroBatch.Pack(T, [([-1], [1])]))).Message, StringComparison.Ordinal);
    }
}
