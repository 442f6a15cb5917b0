using System;
using System.Text.Json;
using Parquet.Schema;

namespace Graph.Finetune.Data;

/// <summary>The values of a leaf one after the other, with their levels (Dremel).</summary>
sealed class ParquetLeaf(DataField column, int[]? levels, int[]? repeated, Action<Utf8JsonWriter, int> write)
{
    int at, value;

    public DataField Field => column;

    /// <summary>How much of what is around a value, and it itself, is there.</summary>
    public int Level => levels is null ? 0 : levels[at];

    /// <summary>The value goes on a list.</summary>
    public bool IsMore => repeated is not null && at < repeated.Length && repeated[at] > 0;

    public bool IsValue => Level == column.MaxDefinitionLevel;

    public void Write(Utf8JsonWriter json)
    {
        if (IsValue) write(json, value);
        else json.WriteNullValue();
        Next();
    }

    public void Next()
    {
        if (IsValue) value++;
        at++;
    }

    /// <summary>Passes over the end of a row that began before, and over whole rows.</summary>
    public void Skip(long rows)
    {
        while (IsMore) Next();
        for (; rows > 0; rows--)
        {
            Next();
            while (IsMore) Next();
        }
    }
}

/// <summary>A column as the field of an example.</summary>
sealed record ParquetColumn(Field Field, ParquetLeaf[] Leaves)
{
    /// <summary>Writes the field of one row.</summary>
    public void Write(Utf8JsonWriter json)
    {
        var first = Leaves[0];
        if (first.Field.MaxRepetitionLevel == 0)
        {
            if (first.IsValue) json.WritePropertyName(Field.Name);
            if (first.IsValue) first.Write(json);
            else first.Next();
            return;
        }
        // An element is there from this level on; one below it the list is empty, and further below it is null.
        var element = Field is ListField list ? list.MaxDefinitionLevel : first.Field.MaxDefinitionLevel;
        if (first.Level < element)
        {
            if (first.Level == element - 1) json.WriteStartArray(Field.Name);
            if (first.Level == element - 1) json.WriteEndArray();
            foreach (var leaf in Leaves) leaf.Next();
            return;
        }
        json.WriteStartArray(Field.Name);
        do
        {
            if (Field is ListField { Item: StructField })
            {
                json.WriteStartObject();
                foreach (var leaf in Leaves)
                {
                    json.WritePropertyName(leaf.Field.Name);
                    leaf.Write(json);
                }
                json.WriteEndObject();
            }
            else
            {
                first.Write(json);
            }
        }
        while (first.IsMore);
        json.WriteEndArray();
    }
}
