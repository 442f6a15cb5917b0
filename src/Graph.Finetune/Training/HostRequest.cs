namespace Graph.Finetune.Training;

/// <summary>Whether frozen linears rest in host memory and are copied to the device ahead of every use. Auto: as the plan has it, which keeps them on the device.</summary>
public enum StreamWeights { Auto, On, Off }

/// <summary>What a run may have of the host's memory.</summary>
/// <param name="Memory">Most bytes that may be page-locked for weights and activations; null: what the machine has to give.</param>
public sealed record HostRequest(long? Memory = null, StreamWeights StreamWeights = StreamWeights.Auto)
{
    /// <exception cref="FinetuneException">The plan takes more (exit code 4).</exception>
    public void Require(long bytes)
    {
        if (bytes == 0) return;
        var budget = Memory ?? HostMemory.Available();
        if (bytes <= budget) return;
        var has = Memory is null ? $"this machine has {Bytes.Text(budget)} to give" : $"--host-memory is {Bytes.Text(budget)}";
        throw new FinetuneException(
            $"the plan keeps {Bytes.Text(bytes)} in page-locked host memory, but {has}; give more, or keep weights on the device with --stream-weights off.", 4);
    }
}
