using System;
using System.Security.Cryptography;
using System.Text;

namespace Graph.Runtime.Cuda;

/// <summary>
/// The identity of a kernel's text in snapshots/verified.json: SHA-256 of the text without comments and white space,
/// so that wording a header anew does not ask for another run on a GPU.
/// String literals (PTX) count as they are.
/// </summary>
public static class KernelFingerprint
{
    public static string Of(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Strip(text))));

    /// <summary>The text that is hashed.</summary>
    public static string Strip(string text)
    {
        var code = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length;)
        {
            if (text[i] == '"')
            {
                var end = i + 1;
                while (end < text.Length && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
                end = Math.Min(end + 1, text.Length);
                code.Append(text, i, end - i);
                i = end;
            }
            else if (text.AsSpan(i).StartsWith("//"))
            {
                var end = text.IndexOf('\n', i);
                i = end < 0 ? text.Length : end;
            }
            else if (text.AsSpan(i).StartsWith("/*"))
            {
                var end = text.IndexOf("*/", i + 2, StringComparison.Ordinal);
                i = end < 0 ? text.Length : end + 2;
            }
            else
            {
                if (!char.IsWhiteSpace(text[i])) code.Append(text[i]);
                i++;
            }
        }
        return code.ToString();
    }
}
