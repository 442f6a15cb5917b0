using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Graph.Generator.IR;
using Graph.Generator.Ops;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

/// <summary>What became of one [GraphModel] class: its trace and the code of every op, or what is wrong with it. A warning is beside a trace. Location is the class.</summary>
sealed record TracedClass(string Variant, TracedModel? Model, EquatableArray<Fault> Faults, EquatableArray<Location> Places, Location? Location);

/// <summary>From a [GraphModel] class to its trace, or to all that is wrong with it.</summary>
static class Tracer
{
    public static TracedClass Trace(INamedTypeSymbol type, AttributeData attribute, Compilation compilation, CancellationToken cancellation)
    {
        var at = type.Locations.FirstOrDefault() ?? Location.None;
        var variant = attribute.ConstructorArguments.Length == 1 ? attribute.ConstructorArguments[0].Value as string ?? "" : "";
        var trace = new TraceWriter(variant);
        TracedModel? model = null;
        try
        {
            model = Run(variant, type, at, trace, compilation, attribute.NamedArguments.Any(a => a.Key == "Full" && a.Value.Value is true), cancellation);
        }
        catch (TraceError e)
        {
            trace.Report(e.Descriptor, e.Location == Location.None ? at : e.Location, e.Message);
        }
        catch (InvalidCode)
        {
            return new TracedClass(variant, null, default, default, at);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            trace.Report(DiagnosticDescriptors.Internal, at, "tracing failed with " + e.GetType().Name + ": " + e.Message + "; please report it with the model");
        }
        return new TracedClass(variant, trace.HasErrors ? null : model, trace.Faults.ToArray(), trace.Places.ToArray(), at);
    }

    static TracedModel Run(string variant, INamedTypeSymbol type, Location at, TraceWriter trace, Compilation compilation, bool full, CancellationToken cancellation)
    {
        TraceError Form(string what) => new(DiagnosticDescriptors.Class, at, "[GraphModel(\"" + variant + "\")] " + type.Name + " " + what);
        if (variant.Length == 0 || variant.Any(c => c is not (>= 'a' and <= 'z' or >= '0' and <= '9' or '.' or '-' or '_')))
            throw Form("has the name '" + variant + "'; use lower-case letters, digits, '.', '-' and '_'");
        if (type.IsAbstract || type.IsGenericType) throw Form("is " + (type.IsAbstract ? "abstract" : "generic") + "; a variant is a class that can be created");
        if (!IsModel(type)) throw Form("does not derive from LanguageModel");
        if (type.InstanceConstructors.FirstOrDefault(c => c.Parameters.Length == 0) is not { } constructor) throw Form("has no constructor without parameters");

        var code = ModelCode.Of(compilation);
        var interpreter = new Interpreter(code, trace, cancellation);
        var model = interpreter.Construct(type, constructor, new object?[0], null);
        if (FindMember<IMethodSymbol>(type, "Forward", m => m.Parameters.Length == 1 && Names.IsTensor(m.Parameters[0].Type)) is not { } forward)
            throw Form("has no Forward(Tensor ids)");
        trace.Root(forward.ContainingType.Name + ".Forward");
        var ids = trace.Add("input", Array.Empty<TensorValue>(), new[] { new KeyValuePair<string, object?>("name", "ids") }, null);
        var result = interpreter.Call(null, forward, model, new object?[] { ids });
        trace.Finish(result as TensorValue ?? throw Form("returns " + Show.Value(result) + " from Forward; it must return logits"), at);

        object? Read(IPropertySymbol property)
        {
            var count = trace.Nodes.Count;
            var value = interpreter.Read(property, model);
            return trace.Nodes.Count == count ? value : throw Form("calls ops in " + property.Name);
        }
        var overrides = trace.Overrides.ToArray();
        var property = FindMember<IPropertySymbol>(type, "CheckpointConfig", _ => true) ?? throw Form("has no CheckpointConfig");
        var config = Config(Read(property), what => new TraceError(DiagnosticDescriptors.Result, property.Locations[0], what));
        var changes = FindMember<IPropertySymbol>(type, "Changes", p => code.IsHere(p, cancellation)) is not { } named ? new string[0]
            : Changes(Read(named), config, what => new TraceError(DiagnosticDescriptors.Result, named.Locations[0], what));
        // A class that writes its own CheckpointConfig has said what its checkpoint is; one that inherits it has not.
        var inherits = !SymbolEqualityComparer.Default.Equals(property.ContainingType, type);
        return new TracedModel(variant, trace.Nodes, config, changes, inherits ? overrides : new string[0], full);
    }

    static IReadOnlyList<KeyValuePair<string, object?>> Config(object? fields, Func<string, TraceError> error)
    {
        var config = new List<KeyValuePair<string, object?>>();
        foreach (var item in (fields as ListValue ?? throw error("CheckpointConfig is " + Show.Value(fields) + "; it must be a list of fields")).Items)
        {
            if (item is not TupleValue { Items: [string name, var value] }) throw error("CheckpointConfig holds " + Show.Value(item) + "; it must hold ConfigField(name, value)");
            config.Add(new(name, value switch
            {
                null or int or double or bool or string => value,
                ListValue list when list.Items.All(i => i is string) => list.Items.Cast<string>().ToArray(),
                ListValue list when list.Items.All(i => i is int) => list.Items.Cast<int>().ToArray(),
                _ => throw error("CheckpointConfig has " + name + " = " + Show.Value(value) + "; a value is an int, double, bool, string, null, or a list of texts or ints"),
            }));
        }
        return config;
    }

    /// <summary>Names of config fields; names with a dot are tensors of the checkpoint, where * stands for any text, or overridden members.</summary>
    static string[] Changes(object? names, IReadOnlyList<KeyValuePair<string, object?>> config, Func<string, TraceError> error)
    {
        if (names is not ListValue list || !list.Items.All(i => i is string)) throw error("Changes is " + Show.Value(names) + "; it must be a list of texts");
        var changes = list.Items.Cast<string>().ToArray();
        foreach (var name in changes)
            if (name.IndexOf('.') < 0 && config.All(f => f.Key != name))
                throw error("Changes names '" + name + "', which is no field of CheckpointConfig (" + string.Join(", ", config.Select(f => f.Key))
                    + ") and no tensor or member (whose names have dots)");
        return changes;
    }

    static bool IsModel(INamedTypeSymbol type)
    {
        for (var t = type.BaseType; t is not null; t = t.BaseType) if (Names.IsDsl(t, "LanguageModel")) return true;
        return false;
    }

    static T? FindMember<T>(INamedTypeSymbol type, string name, Func<T, bool> fits) where T : class, ISymbol
    {
        for (INamedTypeSymbol? t = type; t is not null; t = t.BaseType)
            if (t.GetMembers(name).OfType<T>().FirstOrDefault(m => !m.IsAbstract && !m.IsStatic && fits(m)) is { } found) return found;
        return null;
    }
}
