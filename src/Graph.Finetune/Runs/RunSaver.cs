using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using Graph.Runtime.Schedules;

namespace Graph.Finetune.Runs;

/// <summary>
/// Saves a run while it goes on: each state becomes a checkpoint, and its product, an adapter or a model, the one of the folder.
/// Writing is done beside the run, one save after the other;
/// what cannot be written is said, and the save before stays what it was.
/// </summary>
/// <param name="keep">Checkpoints that stay, beside the best one.</param>
/// <param name="warn">Receives what is wrong, without a full stop.</param>
public sealed class RunSaver(RunFolder folder, int keep, IRunProduct product, RunSettings settings, Action<string> warn)
{
    Task running = Task.CompletedTask;
    bool unproven, owes;
    // Steps of checkpoints that were passed over because they are damaged.
    HashSet<int> damaged = [];

    /// <summary>Step of the newest checkpoint that this run wrote or went on from; null: there is none.</summary>
    public int? Checkpoint { get; private set; }

    /// <summary>Step of the product in the folder; null: it is none of this run.</summary>
    public int? Product { get; private set; }

    /// <summary>Step of the checkpoint with the lowest evaluation loss, which stays whatever comes; null: there is none.</summary>
    public int? Best { get; private set; }

    /// <summary>Why the last write of a product failed; null: it did not.</summary>
    public string? ProductFault { get; private set; }

    /// <summary>The run goes on from this state's checkpoint.</summary>
    public void GoOnFrom(RunState state)
    {
        Checkpoint = state.Position.Step;
        owes = state.Owed is not null;
        damaged = [.. RunCheckpoint.Steps(folder.Checkpoints).Where(step => step > Checkpoint)];
        NameBest(state.Evaluations);
    }

    /// <summary>Begins a save, once the one before has ended.</summary>
    public void Begin(RunState state)
    {
        Finish();
        running = Task.Run(() => Save(state));
        unproven = true;
    }

    /// <summary>
    /// A step with a finite gradient has used the weights of the newest save, so older ones than are to be kept may go: until then one of them is the last good one.
    /// </summary>
    public void Prove()
    {
        if (!unproven) return;
        unproven = false;
        running = Then(running);

        async Task Then(Task before)
        {
            await before.ConfigureAwait(false);
            await Task.Run(RemoveOld).ConfigureAwait(false);
        }
    }

    /// <summary>Waits for the save that was begun.</summary>
    public void Finish() => running.GetAwaiter().GetResult();

    /// <summary>
    /// After steps from <paramref name="firstSkipped"/> on had no finite gradient: all of them used the weights of the step before,
    /// so a save from there on is set aside (step-N.diverged),
    /// and the product becomes the one of the newest save before.
    /// </summary>
    /// <returns>The step of that save; null: there is none.</returns>
    /// <exception cref="InputException">The product cannot be written.</exception>
    public int? Retreat(int firstSkipped, Schedule schedule)
    {
        Finish();
        try
        {
            foreach (var step in RunCheckpoint.Steps(folder.Checkpoints).Where(s => s >= firstSkipped - 1))
            {
                var ruined = RunCheckpoint.FolderOf(folder.Checkpoints, step);
                AtomicFiles.Remove(ruined + ".diverged");
                Directory.Move(ruined, ruined + ".diverged");
            }
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            warn($"a checkpoint of the diverged steps could not be set aside ({e.Message.TrimEnd('.')})");
        }
        Checkpoint = RunCheckpoint.Steps(folder.Checkpoints).Where(s => s < firstSkipped - 1).Select(s => (int?)s)
            .FirstOrDefault(s => RunCheckpoint.Fault(RunCheckpoint.FolderOf(folder.Checkpoints, s!.Value)) is null);
        if (Checkpoint is { } good)
        {
            var state = RunCheckpoint.Read(RunCheckpoint.FolderOf(folder.Checkpoints, good), schedule).State;
            product.Save(folder.Path, state.Train);
            Product = good;
            NameBest(state.Evaluations);
        }
        else if (Product is not null)
        {
            product.Remove(folder.Path);
            Product = null;
        }
        if (Checkpoint is null) NameBest(EvaluationState.None);
        return Checkpoint;
    }

    void Save(RunState state)
    {
        var step = state.Position.Step;
        try
        {
            // One whose evaluation was still to be done is written again once it is.
            if (Checkpoint != step || owes) RunCheckpoint.Write(folder.Checkpoints, state, product, settings);
            (Checkpoint, owes) = (step, state.Owed is not null);
            damaged.Remove(step);
            if (state.Evaluations.BestStep == step) NameBest(state.Evaluations);
        }
        catch (InputException e)
        {
            warn($"step {step} has no checkpoint: {e.Message.TrimEnd('.')}; {(Checkpoint is { } last ? $"the last one is of step {last}" : "there is none yet")}");
        }
        try
        {
            product.Save(folder.Path, state.Train);
            (Product, ProductFault) = (step, null);
        }
        catch (InputException e)
        {
            ProductFault = e.Message.TrimEnd('.');
            warn($"{ProductFault}; "
                + $"{(Product is { } last ? $"the one there is of step {last}" : Checkpoint is null ? "none of this run is there" : "the one there is of an earlier save")}");
        }
    }

    void NameBest(EvaluationState evaluations)
    {
        // What a damaged checkpoint was passed over for is written again when the run comes to it.
        Best = evaluations.BestStep > 0 && Directory.Exists(RunCheckpoint.FolderOf(folder.Checkpoints, evaluations.BestStep)) ? evaluations.BestStep : null;
        try
        {
            folder.NameBest(Best);
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            warn($"the best checkpoint{(Best is { } best ? $", step {best}," : "")} could not be named '{RunFolder.BestName}' ({e.Message.TrimEnd('.')})");
        }
    }

    void RemoveOld()
    {
        try
        {
            // A damaged one takes no good one's place; one that is newer is written again where the run comes to it.
            foreach (var step in damaged.Where(s => s < Checkpoint)) AtomicFiles.Remove(RunCheckpoint.FolderOf(folder.Checkpoints, step));
            foreach (var old in RunCheckpoint.Steps(folder.Checkpoints).Where(s => s <= Checkpoint).Skip(keep)
                .Where(s => s != Best)) AtomicFiles.Remove(RunCheckpoint.FolderOf(folder.Checkpoints, old));
        }
        catch (Exception e) when (AtomicFiles.IsFault(e))
        {
            warn($"an old checkpoint cannot be removed ({e.Message.TrimEnd('.')})");
        }
    }
}
