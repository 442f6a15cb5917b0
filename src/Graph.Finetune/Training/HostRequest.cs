using System;
using Graph.Runtime.Planning;

namespace Graph.Finetune.Training;

/// <summary>Whether frozen linears rest in host memory and are copied to the device ahead of every use. Auto: as many as make the step the fastest.</summary>
public enum StreamWeights { Auto, On, Off }

/// <summary>What a run may have of the host's memory.</summary>
/// <param name="Memory">Most bytes that may be page-locked for weights and activations; null: what the machine has to give.</param>
/// <param name="Offload">Whether the plan may let activations wait there for the backward.</param>
public sealed record HostRequest(long? Memory = null, StreamWeights StreamWeights = StreamWeights.Auto, bool Offload = true)
{
    /// <summary>What the machine had to give when it was asked; null: it is asked each time.</summary>
    public long? Given { get; init; }

    /// <summary>Asked once, so that a plan is held to the bytes that it was made with.</summary>
    public HostRequest Measured() => this with { Given = Given ?? HostMemory.Available() };

    long Budget => Memory ?? Given ?? HostMemory.Available();

    /// <summary>What plans for a device may keep in host memory. A CPU's memory is the host's: there it is of use to tests alone.</summary>
    public HostChoices Choices(DeviceProfile device) => new(
        Budget, Offload && device.IsGpu, StreamWeights switch
        {
            StreamWeights.On => true,
            StreamWeights.Off => false,
            StreamWeights.Auto => device.IsGpu ? null : false,
            _ => throw new ArgumentException($"host: no choice {StreamWeights}."),
        });

    /// <exception cref="FinetuneException">That many bytes are more than may be page-locked (exit code 4).</exception>
    public void Require(long bytes)
    {
        if (bytes == 0 || Budget is var budget && bytes <= budget) return;
        var has = Memory is null ? $"this machine has {Bytes.Text(budget)} to give" : $"--host-memory is {Bytes.Text(budget)}";
        throw new FinetuneException(
            $"the plan keeps {Bytes.Text(bytes)} in page-locked host memory, but {has}; give more, or keep weights on the device with --stream-weights off.", 4);
    }
}
