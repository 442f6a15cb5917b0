using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics.Metrics;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading.Tasks;
using Graph.Finetune.Commands;
using Graph.Finetune.Runs;
using Graph.Finetune.Training;
using Xunit;
using static Graph.Finetune.Tests.Commands.Gemma2Run;

namespace Graph.Finetune.Tests.Commands;

public class TelemetryTests
{
    [Theory]
    [InlineData(""), InlineData("OTEL_EXPORTER_OTLP_ENDPOINT="), InlineData("OTEL_SERVICE_NAME=x")]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 OTEL_SDK_DISABLED=TRUE"), InlineData("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 OTEL_METRICS_EXPORTER=none")]
    public void Start_WhereNobodyAsks_IsNothing(string environment)
    {
        var variables = environment.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(v => v.Split('=', 2)).ToDictionary(v => v[0], v => v[1]);
        Assert.Null(Telemetry.Start(variables.GetValueOrDefault, "out"));
    }

    [Fact]
    public void Train_WithAVariableThatIsNone_IsRefusedByName()
    {
        using var scratch = new Scratch();
        var args = Train(scratch.File("d.jsonl", "{\"input_ids\":[2,5]}"), Path.Combine(scratch.Path, "out"), "--steps", "1");
        using var process = Start([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_HEADERS", "x")], args);
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(2, process.ExitCode);
        Assert.StartsWith("error: metrics cannot be sent as the OTEL_EXPORTER_OTLP variables say: ", error);
    }

    [Fact]
    public void Meter_OfSteps_HasWhatTheirReportsHave()
    {
        var measured = new List<(string Name, double Value)>();
        using var listener = new MeterListener
            { InstrumentPublished = (instrument, to) => { if (instrument.Meter.Name == RunMeter.Name) to.EnableMeasurementEvents(instrument); } };
        // Other tests may train meanwhile.
        void Add(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            if (tags[0].Value is "of this test") measured.Add((instrument.Name, value));
        }
        listener.SetMeasurementEventCallback<double>((i, v, t, _) => Add(i, v, t));
        listener.SetMeasurementEventCallback<long>((i, v, t, _) => Add(i, v, t));
        listener.Start();
        using (var meter = new RunMeter("of this test"))
        {
            meter.Write(new StepReport(1, 0.5, 3, 1e-4, 0.25, 100, 200, 1000, 2000, false));
            meter.Write(new StepReport(2, 1, double.NaN, 2e-4, double.NaN, 50, 100, 1000, 2000, true) { EvaluationLoss = 2.5 });
        }
        Assert.Equal(
        [
            ("graph.train.step", 1), ("graph.train.loss", 3), ("graph.train.learning_rate", 1e-4), ("graph.train.gradient_norm", 0.25), ("graph.train.speed", 500),
            ("graph.device.memory.peak", 1000), ("graph.train.tokens", 100), ("graph.train.step.duration", 0.2),
            ("graph.train.step", 2), ("graph.eval.loss", 2.5), ("graph.train.learning_rate", 2e-4), ("graph.train.speed", 500),
            ("graph.device.memory.peak", 1000), ("graph.train.tokens", 50), ("graph.train.skipped", 1), ("graph.train.step.duration", 0.1),
        ], measured);
    }

    /// <summary>A collector on this machine gets the metrics of a whole process, which needs no collector to train.</summary>
    [Fact]
    public async Task Train_WithAnEndpoint_SendsItsMetricsThere()
    {
        using var scratch = new Scratch();
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var bodies = new ConcurrentQueue<(string Head, byte[] Body)>();
        var serving = Serve(listener, bodies);
        string[] args = Train(scratch.File("d.jsonl", "{\"input_ids\":[2,5,6,7,8,9,10,1]}"), Path.Combine(scratch.Path, "out"),
            "--batch-tokens", "16", "--rank", "2", "--steps", "3");
        var endpoint = $"http://{listener.LocalEndpoint}";
        using (var process = Start([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], args))
        {
            var said = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.Equal((0, ""), (process.ExitCode, await said));
        }
        listener.Stop();
        await serving;
        Assert.NotEmpty(bodies);
        Assert.All(bodies, b => Assert.StartsWith("POST /v1/metrics ", b.Head));
        var text = string.Concat(bodies.Select(b => Encoding.Latin1.GetString(b.Body)));
        Assert.All(new[] { "graph.train.loss", "graph.train.step.duration", "graph.train.tokens",
            "service.name", "gemma2", "graph.variant", "nano", Path.Combine(scratch.Path, "out") },
            part => Assert.Contains(part, text));

        // Nobody listens there any more.
        Assert.Equal(3, Metrics(Path.Combine(scratch.Path, "out")).Count);
        using var alone = Start([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)], [.. args, "--overwrite"]);
        var error = alone.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await alone.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await alone.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal((0, ""), (alone.ExitCode, await error));
    }

    static async Task Serve(TcpListener listener, ConcurrentQueue<(string, byte[])> bodies)
    {
        try
        {
            while (true)
            {
                using var client = await listener.AcceptTcpClientAsync();
                await using var stream = client.GetStream();
                var head = new StringBuilder();
                while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
                {
                    var one = new byte[1];
                    if (await stream.ReadAsync(one) == 0) break;
                    head.Append((char)one[0]);
                }
                var length = int.Parse(head.ToString().Split('\n').First(l => l.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase)).Split(':')[1]);
                var body = new byte[length];
                await stream.ReadExactlyAsync(body);
                bodies.Enqueue((head.ToString(), body));
                await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8.ToArray());
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The listener was stopped.
        }
    }
}
