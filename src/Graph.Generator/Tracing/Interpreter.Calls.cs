using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using Graph.Generator.IR;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace Graph.Generator.Tracing;

/// <summary>Calls: ops are written down, methods of the project are run, functions are values, and a short list of library methods is known.</summary>
sealed partial class Interpreter
{
    public override object? VisitInvocation(IInvocationOperation operation, Frame frame)
    {
        var method = operation.TargetMethod;
        if (code.Op(method) is { } op) return Emit(operation, op, Arguments(operation.Arguments, method.Parameters.Length, frame));
        var instance = Visit(operation.Instance, frame);
        var arguments = Arguments(operation.Arguments, method.Parameters.Length, frame);
        if (method.MethodKind == MethodKind.DelegateInvoke) return Invoke(operation, instance, arguments);
        if (method.MethodKind == MethodKind.LocalFunction) return Invoke(operation, Function(method, null, frame), arguments);
        if (Names.IsDsl(method.ContainingType, "Module") && method.Name == "Scope")
            return trace.Open(arguments[0] as string is { Length: > 0 } name ? name : throw TraceError.Value(operation, "a scope needs a name"), operation);
        if (!method.IsStatic && instance is null) throw TraceError.Value(operation, "'" + method.Name + "' is called on null");
        if (method.Name is "Equals" or "ReferenceEquals" && (instance is TensorValue || arguments.Any(a => a is TensorValue)))
            throw new TraceError(DiagnosticDescriptors.TensorEquality, operation, "tensors are compared; their values are not known while tracing");
        if (instance is not ModelObject self)
            return HasBody(method) ? Call(operation, method, null, arguments)
                : KnownCalls.Run(operation, method, instance, arguments, Calls(operation)) is { Known: true } known ? known.Value : throw KnownCalls.Outside(operation, method);
        return Call(operation, operation.IsVirtual ? Override(self.Type, method.OriginalDefinition) : method, self, arguments);
    }

    /// <summary>What a virtual member stands for on an object of this type; that a class of this project overrides another's is noted.</summary>
    T Override<T>(INamedTypeSymbol type, T member) where T : class, ISymbol
    {
        var found = code.Override(type, member);
        ISymbol? replaced = found switch { IMethodSymbol m => m.OverriddenMethod, IPropertySymbol p => p.OverriddenProperty, _ => null };
        if (replaced is { IsAbstract: false } && code.IsHere(replaced, cancellation)) trace.Overrides.Add(replaced.ContainingType.Name + "." + replaced.Name);
        return found;
    }

    System.Func<object?, object?[], object?> Calls(IOperation at) => (function, arguments) => Invoke(at, function, arguments);

    bool HasBody(IMethodSymbol method) => code.Body(method.OriginalDefinition, cancellation) is not null;

    /// <summary>Argument values by parameter; evaluated in the order in which they are written.</summary>
    object?[] Arguments(ImmutableArray<IArgumentOperation> arguments, int count, Frame frame)
    {
        var values = new object?[count];
        foreach (var argument in arguments)
        {
            if (argument.Parameter is not { } parameter) throw new InvalidCode();
            if (parameter.RefKind is RefKind.Ref or RefKind.Out)
                throw TraceError.Unsupported(argument, "'" + parameter.Name + "' is passed by reference; a model may pass values only");
            values[parameter.Ordinal] = Visit(argument.Value, frame);
        }
        return values;
    }

    public object? Call(IOperation? at, IMethodSymbol method, ModelObject? self, object?[] arguments)
    {
        method = method.OriginalDefinition;
        var body = code.Body(method, cancellation) ?? throw (code.IsHere(method.ContainingType, cancellation)
            ? new TraceError(DiagnosticDescriptors.Outside, at?.Syntax.GetLocation() ?? Location.None,
                "'" + method.ContainingType.Name + "." + method.Name + "' has no body in this project that could be traced; write one")
            : KnownCalls.Outside(at, method));
        if (method.IsAsync) throw TraceError.Unsupported(at ?? body, "'" + method.Name + "' is async; a model may not be");
        if (method.IsExtensionMethod || method.IsStatic) self = null;
        var frame = new Frame(method, self);
        foreach (var parameter in method.Parameters) frame.Declare(parameter, arguments[parameter.Ordinal]);
        return Run(body, frame, at);
    }

    // --- functions as values ------------------------------------------------------------------------------------

    public override object? VisitDelegateCreation(IDelegateCreationOperation operation, Frame frame) => Visit(operation.Target, frame);
    public override object? VisitAnonymousFunction(IAnonymousFunctionOperation operation, Frame frame) =>
        new FunctionValue(operation.Symbol, operation.Body, frame.Self, frame.Capture());

    public override object? VisitMethodReference(IMethodReferenceOperation operation, Frame frame) =>
        operation.Method.MethodKind == MethodKind.LocalFunction ? Function(operation.Method, null, frame)
        : Function(operation.Method, Visit(operation.Instance, frame) as ModelObject, frame, operation.IsVirtual);

    FunctionValue Function(IMethodSymbol method, ModelObject? self, Frame frame, bool isVirtual = false)
    {
        if (method.MethodKind != MethodKind.LocalFunction)
            return new FunctionValue(self is not null && isVirtual ? Override(self.Type, method.OriginalDefinition) : method, null, self, null);
        // A local function sees the variables of the call that declares it, also those declared after it.
        var owner = frame;
        while (owner.Outer is not null && !SymbolEqualityComparer.Default.Equals(owner.Owner, method.OriginalDefinition.ContainingSymbol)) owner = owner.Outer;
        return new FunctionValue(method, null, frame.Self, owner);
    }

    object? Invoke(IOperation at, object? function, object?[] arguments)
    {
        if (function is not FunctionValue f) throw TraceError.Value(at, "a function is called, but it is " + Show.Value(function));
        if (f.Captured is null)
            return code.Op(f.Method) is { } op ? Emit(at, op, arguments) : Call(at, f.Method, f.Self, arguments);
        var body = f.Body ?? (code.Body(f.Method.OriginalDefinition, cancellation) as ILocalFunctionOperation)?.Body ?? throw new InvalidCode();
        var frame = new Frame(f.Method.OriginalDefinition, f.Self, f.Captured);
        foreach (var parameter in (f.Body is null ? f.Method.OriginalDefinition : f.Method).Parameters) frame.Declare(parameter, arguments[parameter.Ordinal]);
        return Run(body, frame, at);
    }

    // --- ops ----------------------------------------------------------------------------------------------------

    object? Emit(IOperation at, OpMethod op, object?[] arguments)
    {
        var (inputs, attributes) = (new TensorValue[op.Parameters.Count(p => p.Kind == OpParameter.Tensor)], new List<KeyValuePair<string, object?>>(2));
        FunctionValue? score = null;
        for (int i = 0, tensors = 0; i < op.Parameters.Length; i++)
        {
            var ((name, kind), value) = (op.Parameters[i], arguments[i]);
            if (kind == OpParameter.Tensor)
                inputs[tensors++] = value as TensorValue ?? throw TraceError.Value(at, op.Name + ": '" + name + "' is " + Show.Value(value) + "; it must be a tensor");
            else if (kind is OpParameter.Function or OpParameter.FunctionOfPosition) score = (FunctionValue?)value;
            else if (kind == OpParameter.Real && value is int or long or float or double)
            attributes.Add(new(name, System.Convert.ToDouble(value, System.Globalization.CultureInfo.InvariantCulture)));
            else if (value is ListValue list)
                for (var d = 0; d < list.Items.Count; d++) attributes.Add(new(name.TrimEnd('s') + NumberText.Int(d), list.Items[d]));
            else attributes.Add(new(name, value is null or int or double or string ? value : throw TraceError.Value(at, op.Name + ": '" + name + "' is " + Show.Value(value))));
        }
        if (op.Name != "attention") return trace.Add(op.Name, inputs, attributes, at);
        return trace.Attention(inputs, attributes, score is null ? null : arguments =>
            Invoke(at, score, arguments) as TensorValue ?? throw TraceError.Value(at, "attention: the score function returns null"),
            op.Parameters.Any(p => p.Kind == OpParameter.FunctionOfPosition), at);
    }
}
