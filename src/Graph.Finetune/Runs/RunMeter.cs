using System;
using System.Collections.Generic;
using System.Diagnostics.Metrics;
using Graph.Finetune.Training;

namespace Graph.Finetune.Runs;

/// <summary>
/// The steps of a run as instruments of System.Diagnostics.Metrics, under the meter <see cref="Name"/>; each measurement
/// has the tag graph.variant. Nothing listens unless somebody asks: measuring then costs nanoseconds.
/// </summary>
public sealed class RunMeter : IDisposable
{
    public const string Name = "Graph.Finetune";

    readonly Meter meter = new(Name);
    readonly KeyValuePair<string, object?> variant;
    readonly Gauge<double> loss, evaluation, rate, norm, speed;
    readonly Gauge<long> step, memory;
    readonly Counter<long> tokens, skipped;
    readonly Histogram<double> duration;

    public RunMeter(string variant)
    {
        this.variant = new("graph.variant", variant);
        step = meter.CreateGauge<long>("graph.train.step", "{step}", "Optimizer steps done");
        loss = meter.CreateGauge<double>("graph.train.loss", "{nat}", "Mean loss over the labels of the last step");
        evaluation = meter.CreateGauge<double>("graph.eval.loss", "{nat}", "Mean loss over the labels of the evaluation data");
        rate = meter.CreateGauge<double>("graph.train.learning_rate", "1", "Learning rate of the last step");
        norm = meter.CreateGauge<double>("graph.train.gradient_norm", "1", "Norm of the last step's gradient before clipping");
        speed = meter.CreateGauge<double>("graph.train.speed", "{token}/s", "Tokens a second in the last step");
        memory = meter.CreateGauge<long>("graph.device.memory.peak", "By", "Most memory that the process took on the device");
        tokens = meter.CreateCounter<long>("graph.train.tokens", "{token}", "Tokens trained on");
        skipped = meter.CreateCounter<long>("graph.train.skipped", "{step}", "Steps skipped because the gradient was not finite");
        duration = meter.CreateHistogram<double>("graph.train.step.duration", "s", "From the end of a step to the end of the next");
    }

    public void Write(StepReport report)
    {
        step.Record(report.Step, variant);
        if (double.IsFinite(report.Loss)) loss.Record(report.Loss, variant);
        if (report.EvaluationLoss is { } evaluated && double.IsFinite(evaluated)) evaluation.Record(evaluated, variant);
        rate.Record(report.LearningRate, variant);
        if (double.IsFinite(report.GradientNorm)) norm.Record(report.GradientNorm, variant);
        speed.Record(report.TokensPerSecond, variant);
        memory.Record(report.PeakBytes, variant);
        tokens.Add(report.Tokens, variant);
        if (report.Skipped) skipped.Add(1, variant);
        duration.Record(report.Milliseconds / 1000, variant);
    }

    public void Dispose() => meter.Dispose();
}
