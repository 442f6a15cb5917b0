using System.Collections.Generic;
using System.IO;
using System.Linq;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

/// <summary>Weights in host memory, and how much of that there is.</summary>
public class HostMemoryTests
{
    [Fact]
    public void Train_StreamedWeights_WritesTheSameAdapter()
    {
        using var scratch = new Scratch();
        var data = Goldens.Data(scratch);
        string[] outputs = [.. new[] { "off", "on", "auto" }.Select(stream =>
        {
            var output = Path.Combine(scratch.Path, stream);
            Succeed(Train(data, output, "--seq", "48", "--batch-tokens", "96", "--steps", "2", "--stream-weights", stream));
            return output;
        })];
        Assert.Equal(File.ReadAllBytes(Adapter(outputs[0])), File.ReadAllBytes(Adapter(outputs[1])));
        long Peak(string output) => Metrics(output)[^1].GetProperty("planned_peak_bytes").GetInt64();
        Assert.Equal(Peak(outputs[0]), Peak(outputs[2]));
        Assert.True(Peak(outputs[1]) < Peak(outputs[0]));
    }

    [Fact]
    public void Train_HostMemoryShort_IsRefusedAndWritesNothing()
    {
        using var scratch = new Scratch();
        var output = Path.Combine(scratch.Path, "out");
        var result = Run(Train(Goldens.Data(scratch), output, "--seq", "48", "--batch-tokens", "96", "--steps", "2", "--stream-weights", "on", "--host-memory", "1KiB"));
        Assert.Equal(4, result.Code);
        Assert.Contains("in page-locked host memory, but --host-memory is 1024 bytes; give more, or keep weights on the device with --stream-weights off", result.Error);
        Assert.False(File.Exists(Adapter(output)));
        Assert.Equal(2, Run(Train(Goldens.Data(scratch), output, "--host-memory", "-1")).Code);
    }

    static readonly Dictionary<string, string> Machine = new() { ["/proc/meminfo"] = "MemTotal:  100 kB\nMemAvailable:   64 kB\n" };

    static long Available(params (string Path, string Text)[] files) =>
        HostMemory.Available(path => files.Where(f => f.Path == path).Select(f => f.Text).FirstOrDefault(Machine.GetValueOrDefault(path)));

    [Fact]
    public void Available_OfAMachine_IsWhatTheTightestLimitLeaves()
    {
        Assert.Equal(64 << 10, Available());
        // Version 2: the group has no limit, the one above it has; what it caches of files counts as left.
        Assert.Equal(9000 - 5000 + 100, Available(("/proc/self/cgroup", "0::/a/b\n"), ("/sys/fs/cgroup/a/b/memory.max", "max\n"), ("/sys/fs/cgroup/a/b/memory.current", "10\n"),
            ("/sys/fs/cgroup/a/memory.max", "9000\n"), ("/sys/fs/cgroup/a/memory.current", "5000\n"), ("/sys/fs/cgroup/a/memory.stat", "anon 4900\ninactive_file 100\n")));
        // Version 1, in a container: the path is the host's, and the root is the container's group.
        Assert.Equal(7000 - 1000, Available(("/proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/x\n0::/\n"), ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "7000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1000\n")));
        Assert.Equal(64 << 10, Available(("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "9223372036854771712\n"), ("/sys/fs/cgroup/memory.current", "1\n")));
        Assert.True(HostMemory.Available(_ => null) > 0);
    }
}
