using System;

namespace Graph.Finetune.Tokenization;

/// <summary>Numbers of which the least is taken first: a binary heap of 8 bytes a number.</summary>
sealed class LeastFirst(int capacity)
{
    ulong[] heap = new ulong[Math.Max(capacity, 4)];
    int count;

    public void Add(ulong value)
    {
        if (count == heap.Length) Array.Resize(ref heap, heap.Length + heap.Length / 4 + 4);
        var at = count++;
        for (; at > 0 && heap[(at - 1) / 2] > value; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
        heap[at] = value;
    }

    public bool TryTake(out ulong least)
    {
        least = heap[0];
        if (count == 0) return false;
        var last = heap[--count];
        var at = 0;
        for (var child = 1; child < count; child = 2 * at + 1)
        {
            if (child + 1 < count && heap[child + 1] < heap[child]) child++;
            if (heap[child] >= last) break;
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = last;
        return true;
    }
}
