using System;
using System.Linq;
using System.Text.RegularExpressions;

namespace Graph.Finetune.Adapters;

/// <summary>
/// Which linears a text means: those whose name, or the end of it after a dot, is the text (q_proj, self_attn.q_proj), with * for any text (layers.*.mlp.*).
/// A text with other characters than letters, digits and _ - . * is a regular expression for the same, as PEFT reads its rank_pattern.
/// </summary>
sealed class LinearPattern
{
    // A pattern from a file may be made to take forever.
    static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    // Of a regular expression of 115,000 characters .NET makes 12 GB.
    const int Longest = 4096;

    readonly Regex regex;

    LinearPattern(string text, string expression)
    {
        if (text.Length > Longest) throw new ArgumentException($"it has {text.Length} characters, and at most {Longest} are read");
        Text = text;
        regex = new Regex($@"\A(?:.*\.)?(?:{expression})\z", RegexOptions.CultureInvariant | RegexOptions.Singleline, Patience);
    }

    public string Text { get; }

    /// <summary>A pattern, or its start, for a sentence.</summary>
    public static string Shown(string text) => text.Length > 80 ? text[..80] + "…" : text;

    /// <summary>No pattern: a name or the end of one.</summary>
    public bool IsName => Text.All(c => c != '*' && IsPlain(c));

    /// <exception cref="ArgumentException">It is no regular expression.</exception>
    public static LinearPattern Parse(string text) => !text.All(IsPlain) ? Expression(text)
        : new(text, Regex.Escape(text.StartsWith(".*", StringComparison.Ordinal) ? text[1..] : text).Replace(@"\*", ".*", StringComparison.Ordinal));

    /// <summary>As PEFT reads it.</summary>
    /// <exception cref="ArgumentException">It is no regular expression.</exception>
    public static LinearPattern Expression(string text) => new(text, text);

    /// <exception cref="ArgumentException">Matching takes too long.</exception>
    public bool Matches(string linear)
    {
        try
        {
            return regex.IsMatch(linear);
        }
        catch (RegexMatchTimeoutException)
        {
            throw new ArgumentException($"the pattern '{Shown(Text)}' takes more than {Patience.TotalSeconds} seconds on {linear}; write it in a simpler way");
        }
    }

    static bool IsPlain(char c) => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '.' or '*';
}
