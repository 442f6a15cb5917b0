using System;

namespace Graph.Finetune;

/// <summary>An error the user can act on: one sentence with the values and what to do, and the exit code of the process.</summary>
public class FinetuneException(string message, int exitCode) : Exception(message)
{
    public int ExitCode => exitCode;
}

/// <summary>Wrong options or configuration (exit code 2).</summary>
public sealed class UsageException(string message) : FinetuneException(message, 2);

/// <summary>A data, model or adapter file that cannot be read, or written (exit code 3).</summary>
public sealed class InputException(string message) : FinetuneException(message, 3);
