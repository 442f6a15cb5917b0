using System;
using System.Collections.Concurrent;
using System.IO;
using System.Text;
using System.Threading;
using Graph.Finetune.Training;

namespace Graph.Finetune.Commands;

/// <summary>What a person who watches a run is shown beside the steps.</summary>
/// <param name="Tflops">10^12 operations a second that the device reaches at best; null: not measured.</param>
sealed record WatchedRun(string Name, string Device, int Steps, double? Tflops);

/// <summary>
/// Standard output and error of a run, written by a thread of its own: a terminal that is slow or stands still holds nothing up. Every line is written in the end;
/// a report of a step is left out where too many wait, and how many were is said.
/// </summary>
sealed class RunOutput : IDisposable
{
    /// <summary>Reports that wait at most.</summary>
    public const int MostWaiting = 256;

    // A terminal that stands still at the end of a run must not keep the process.
    static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    readonly BlockingCollection<Said> said = [];
    readonly Terminal to;
    readonly Thread thread;
    int waiting, leftOut;

    public RunOutput(Terminal terminal)
    {
        to = terminal.Forgiving();
        Terminal = to with { Out = new QueuedWriter(text => said.Add(new Line(text, ToError: false))), Error = new QueuedWriter(text => said.Add(new Line(text, ToError: true))) };
        thread = new Thread(Write) { IsBackground = true, Name = "terminal" };
        thread.Start();
    }

    /// <summary>The same terminal without the waiting.</summary>
    public Terminal Terminal { get; }

    /// <summary>Steps are about to come.</summary>
    public void Begin(WatchedRun run) => said.Add(new Begun(run));

    public void Show(StepReport report)
    {
        if (Interlocked.Increment(ref waiting) <= MostWaiting) said.Add(new Step(report, Interlocked.Exchange(ref leftOut, 0)));
        else
        {
            Interlocked.Decrement(ref waiting);
            Interlocked.Increment(ref leftOut);
        }
    }

    /// <summary>There are no more steps.</summary>
    public void End() => said.Add(new Ended());

    /// <summary>Waits until everything is written, but not longer than a few seconds.</summary>
    public void Dispose()
    {
        said.CompleteAdding();
        thread.Join(Patience);
    }

    void Write()
    {
        WatchedRun? run = null;
        foreach (var one in said.GetConsumingEnumerable())
        {
            if (one is Begun { Run: var begun })
            {
                run = begun;
                if (to.Interactive && LiveView.Console(to.Out) is { } console) Try(() => LiveView.Run(console, begun, Next));
            }
            else Print(one, run?.Steps ?? 0);
            if (said.Count == 0) to.Out.Flush();
        }
    }

    // Null: nothing came for so long.
    Said? Next(TimeSpan wait)
    {
        if (!said.TryTake(out var one, wait)) return said.IsCompleted ? new Ended() : null;
        if (one is Step) Interlocked.Decrement(ref waiting);
        return one;
    }

    void Print(Said one, int steps)
    {
        switch (one)
        {
            case Line { ToError: true } line: to.Error.WriteLine(line.Text); break;
            case Line line: to.Out.WriteLine(line.Text); break;
            case Step step:
                Interlocked.Decrement(ref waiting);
                if (step.LeftOut > 0) to.Out.WriteLine($"{step.LeftOut} steps are not shown: standard output did not take them as fast as they came; metrics.jsonl has them");
                to.Out.WriteLine(step.Report.Text(steps));
                break;
        }
    }

    void Try(Action view)
    {
        try
        {
            view();
        }
        catch (Exception e)
        {
            // Whatever it is, a picture is no reason to lose a run; lines go on.
            to.Error.WriteLine($"warning: the live view ended ({e.Message.TrimEnd('.')}); the run goes on with a line for each step");
        }
    }

    sealed class QueuedWriter(Action<string> write) : TextWriter
    {
        public override Encoding Encoding => Encoding.UTF8;
        public override void WriteLine(string? value) => write(value ?? "");
        public override void Write(string? value) => throw new NotSupportedException("a run says whole lines");
        public override void Write(char value) => throw new NotSupportedException("a run says whole lines");
    }
}

/// <summary>What is to be written.</summary>
abstract record Said;

sealed record Line(string Text, bool ToError) : Said;

sealed record Begun(WatchedRun Run) : Said;

/// <param name="LeftOut">Steps before this one that nobody is shown.</param>
sealed record Step(StepReport Report, int LeftOut) : Said;

sealed record Ended : Said;
