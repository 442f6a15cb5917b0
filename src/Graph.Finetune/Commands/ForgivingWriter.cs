using System;
using System.IO;
using System.Text;

namespace Graph.Finetune.Commands;

/// <summary>Writes to another writer until that fails, then nowhere.</summary>
/// <param name="failed">Told once why.</param>
sealed class ForgivingWriter(TextWriter to, Action<string> failed) : TextWriter
{
    bool ended;

    public override Encoding Encoding => to.Encoding;

    public override void Write(char value) => Try(() => to.Write(value));
    public override void Write(string? value) => Try(() => to.Write(value));
    public override void Write(char[] buffer, int index, int count) => Try(() => to.Write(buffer, index, count));
    public override void WriteLine(string? value) => Try(() => to.WriteLine(value));
    public override void Flush() => Try(to.Flush);

    void Try(Action write)
    {
        if (ended) return;
        try
        {
            write();
        }
        catch (Exception e) when (AtomicFiles.IsFault(e) || e is ObjectDisposedException)
        {
            ended = true;
            failed(e.Message.TrimEnd('.'));
        }
    }
}
