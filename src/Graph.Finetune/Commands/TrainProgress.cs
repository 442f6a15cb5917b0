using System;
using Graph.Finetune.Training;
using Spectre.Console;

namespace Graph.Finetune.Commands;

/// <summary>Steps as they come: a bar where a person watches, else a line each.</summary>
static class TrainProgress
{
    public static T Run<T>(Terminal terminal, int steps, Func<Action<StepReport>, T> train) => terminal.Interactive ? Bar(terminal, steps, train) : train(report =>
    {
        terminal.Out.WriteLine(report.Text(steps));
        terminal.Out.Flush();
    });

    static T Bar<T>(Terminal terminal, int steps, Func<Action<StepReport>, T> train)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(terminal.Out) });
        return console.Progress().Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 20 }, new RemainingTimeColumn()).Start(context =>
        {
            var task = context.AddTask("first step", maxValue: steps);
            return train(report =>
            {
                task.Description = Markup.Escape(report.Short(steps));
                task.Value = report.Step;
            });
        });
    }
}
