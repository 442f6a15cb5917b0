using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Graph.Finetune.Training;

/// <summary>
/// Ctrl+C, SIGTERM and SIGHUP (the terminal went away) as a wish that the loop reads between steps. A second Ctrl+C or SIGTERM ends the process at once;
/// a second SIGHUP does not, for a shell and the system both send
/// one when a terminal closes. A file that grows beyond the process's limit is an error of the write, not the end of the process.
/// </summary>
public sealed class StopSignal : IDisposable
{
    const int Interrupt = 2, Hangup = 1, Terminate = 15, FileTooLarge = 25;

    // For as long as the process lives: .NET handles a signal later than it comes, and one that it finds without a registration ends the process.
    static readonly PosixSignalRegistration? Limit = OperatingSystem.IsLinux()
        ? PosixSignalRegistration.Create((PosixSignal)FileTooLarge, context => context.Cancel = true) : null;

    readonly List<PosixSignalRegistration> registrations = [];
    volatile int number;
    volatile bool asked;

    /// <summary>From here on signals are wishes; before, they end the process, which has written nothing.</summary>
    public void Listen()
    {
        registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Receive(context, Interrupt)));
        registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Receive(context, Terminate)));
        registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGHUP, context => Receive(context, Hangup)));
        GC.KeepAlive(Limit);
    }

    /// <summary>0, or the number of the signal.</summary>
    public int Number => number;

    public void Dispose()
    {
        foreach (var registration in registrations) registration.Dispose();
    }

    void Receive(PosixSignalContext context, int signal)
    {
        context.Cancel = signal == Hangup || !asked;
        asked |= signal != Hangup;
        if (number == 0) number = signal;
    }
}
