using System;
using System.IO;
using ApprovalTests.Approvers;
using ApprovalTests.Core;

namespace Graph.Snapshots.Tests;

/// <summary>Compares a text with snapshots/NAME.EXT; on a difference leaves NAME.received.EXT beside it. eng/approve.sh accepts.</summary>
static class Snapshot
{
    public static void Verify(string name, string extension, string text) =>
        Approver.Verify(new FileApprover(new Writer(text, extension), new Namer(name), true), new Reporter());

    sealed class Writer(string text, string extension) : IApprovalWriter
    {
        public string GetApprovalFilename(string basename) => basename + "." + extension;
        public string GetReceivedFilename(string basename) => basename + ".received." + extension;

        public string WriteReceivedFile(string received)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(received)!);
            File.WriteAllText(received, text);
            return received;
        }
    }

    sealed class Namer(string name) : IApprovalNamer
    {
        public string SourcePath => Path.Combine(Emitted.Root, "snapshots");
        public string Name => name;
    }

    sealed class Reporter : IApprovalFailureReporter
    {
        public void Report(string approved, string received) =>
            Console.WriteLine($"snapshot: {approved} differs from {received}; read the difference, then eng/approve.sh accepts it");
    }
}
