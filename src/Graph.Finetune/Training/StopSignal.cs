using System;
using System.Runtime.InteropServices;

namespace Graph.Finetune.Training;

/// <summary>Ctrl+C and SIGTERM as a wish that the loop reads between steps. A second one of the same run ends the process at once.</summary>
public sealed class StopSignal : IDisposable
{
    readonly PosixSignalRegistration interrupt, terminate;
    volatile int number;

    public StopSignal()
    {
        interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Receive(context, 2));
        terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Receive(context, 15));
    }

    /// <summary>0, or the number of the signal.</summary>
    public int Number => number;

    public void Dispose()
    {
        interrupt.Dispose();
        terminate.Dispose();
    }

    void Receive(PosixSignalContext context, int signal)
    {
        context.Cancel = number == 0;
        number = signal;
    }
}
