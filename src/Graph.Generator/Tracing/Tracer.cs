using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using Graph.Generator.Ops;
using Microsoft.CodeAnalysis;

namespace Graph.Generator.Tracing;

/// <summary>From a [GraphModel] class to its trace, or to the one error that ended it.</summary>
static class Tracer
{
    public static (TracedModel? Model, Diagnostic? Error) Trace(INamedTypeSymbol type, AttributeData attribute, Compilation compilation, CancellationToken cancellation)
    {
        var at = type.Locations.FirstOrDefault() ?? Location.None;
        var variant = attribute.ConstructorArguments.Length == 1 ? attribute.ConstructorArguments[0].Value as string ?? "" : "";
        var trace = new TraceWriter();
        try
        {
            return (Run(variant, type, at, trace, compilation, cancellation), null);
        }
        catch (TraceError e)
        {
            return (null, Diagnostic.Create(e.Descriptor, e.Location == Location.None ? at : e.Location, e.Message + " (variant " + variant + (trace.Scope.Length > 0 ? ", in " + trace.Scope : "") + ")"));
        }
        catch (ShapeError e)
        {
            return (null, Diagnostic.Create(DiagnosticDescriptors.Result, at, e.Message + " (variant " + variant + ")"));
        }
        catch (InvalidCode)
        {
            return (null, null);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            return (null, Diagnostic.Create(DiagnosticDescriptors.Internal, at, "tracing " + variant + " failed with " + e.GetType().Name + ": " + e.Message + "; please report it with the model"));
        }
    }

    static TracedModel Run(string variant, INamedTypeSymbol type, Location at, TraceWriter trace, Compilation compilation, CancellationToken cancellation)
    {
        TraceError Form(string what) => new(DiagnosticDescriptors.Class, at, "[GraphModel(\"" + variant + "\")] " + type.Name + " " + what);
        if (variant.Length == 0 || variant.Any(c => c is not (>= 'a' and <= 'z' or >= '0' and <= '9' or '.' or '-' or '_'))) throw Form("has the name '" + variant + "'; use lower-case letters, digits, '.', '-' and '_'");
        if (type.IsAbstract || type.IsGenericType) throw Form("is " + (type.IsAbstract ? "abstract" : "generic") + "; a variant is a class that can be created");
        if (!IsModel(type)) throw Form("does not derive from LanguageModel");
        if (type.InstanceConstructors.FirstOrDefault(c => c.Parameters.Length == 0) is not { } constructor) throw Form("has no constructor without parameters");

        var code = ModelCode.Of(compilation);
        var interpreter = new Interpreter(code, trace, cancellation);
        var model = interpreter.Construct(type, constructor, new object?[0], null);
        if (FindMember<IMethodSymbol>(type, "Forward", m => m.Parameters.Length == 1 && Names.IsTensor(m.Parameters[0].Type)) is not { } forward) throw Form("has no Forward(Tensor ids)");
        trace.Root(forward.ContainingType.Name + ".Forward");
        var ids = trace.Add("input", Array.Empty<TensorValue>(), new[] { new KeyValuePair<string, object?>("name", "ids") }, null);
        var result = interpreter.Call(null, forward, model, new object?[] { ids });
        trace.Finish(result as TensorValue ?? throw Form("returns " + Show.Value(result) + " from Forward; it must return logits"));

        var property = FindMember<IPropertySymbol>(type, "CheckpointConfig", _ => true) ?? throw Form("has no CheckpointConfig");
        var count = trace.Nodes.Count;
        var fields = interpreter.Read(property, model);
        if (trace.Nodes.Count != count) throw Form("calls ops in CheckpointConfig");
        return new TracedModel(variant, trace.Nodes, Config(fields, what => new TraceError(DiagnosticDescriptors.Result, property.Locations[0], what)));
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
