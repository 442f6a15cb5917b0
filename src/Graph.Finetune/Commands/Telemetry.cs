using System;
using System.Collections.Generic;
using System.IO;
using System.Security.Cryptography;
using Graph.Finetune.Runs;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;

namespace Graph.Finetune.Commands;

/// <summary>Sends a run's metrics to an OpenTelemetry collector, from a thread of its own. Only when the standard variables name one: without them no socket is opened.</summary>
static class Telemetry
{
    /// <summary>Null: nobody asked.</summary>
    /// <param name="variable">The environment. OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT asks;
    /// OTEL_SDK_DISABLED=true or OTEL_METRICS_EXPORTER=none takes it back; the exporter reads the others.</param>
    /// <param name="folder">Of the run.</param>
    /// <exception cref="UsageException">A variable of the exporter has a value that it cannot follow.</exception>
    public static IDisposable? Start(Func<string, string?> variable, string folder)
    {
        if (variable("OTEL_EXPORTER_OTLP_ENDPOINT") is not { Length: > 0 } && variable("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") is not { Length: > 0 }) return null;
        if (string.Equals(variable("OTEL_SDK_DISABLED"), "true", StringComparison.OrdinalIgnoreCase) || variable("OTEL_METRICS_EXPORTER") == "none") return null;
        try
        {
            return Exporter(variable, folder);
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or NotSupportedException or IOException
            or UnauthorizedAccessException or CryptographicException)
        {
            throw new UsageException($"metrics cannot be sent as the OTEL_EXPORTER_OTLP variables say: {e.Message.TrimEnd('.')}; "
                + "correct them, or unset OTEL_EXPORTER_OTLP_ENDPOINT to train without.");
        }
    }

    static MeterProvider Exporter(Func<string, string?> variable, string folder) =>
        Sdk.CreateMeterProviderBuilder().AddMeter(RunMeter.Name).ConfigureResource(resource =>
        {
            if (variable("OTEL_SERVICE_NAME") is not { Length: > 0 }) resource.AddService("gemma2", autoGenerateServiceInstanceId: false);
            resource.AddAttributes([new KeyValuePair<string, object>("graph.run", folder)]);
        }).AddOtlpExporter().Build();
}
