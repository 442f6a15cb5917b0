// netstandard2.0 lacks the marker type that records and init accessors need.
namespace System.Runtime.CompilerServices
{
    internal static class IsExternalInit;
}

// And the type that list patterns mention.
namespace System
{
    internal readonly struct Index(int value, bool fromEnd = false)
    {
        public int GetOffset(int length) => fromEnd ? length - value : value;
    }
}
