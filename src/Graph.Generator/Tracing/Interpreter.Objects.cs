using System.Collections.Generic;
using System.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Operations;

namespace Graph.Generator.Tracing;

/// <summary>Classes and records of the model's project: construction, members, with.</summary>
sealed partial class Interpreter
{
    readonly Dictionary<ISymbol, object?> _statics = new(SymbolEqualityComparer.Default);
    readonly Stack<ISymbol> _runningStatics = new();

    // --- construction -------------------------------------------------------------------------------------------

    public override object? VisitObjectCreation(IObjectCreationOperation operation, Frame frame)
    {
        var type = (INamedTypeSymbol)operation.Type!;
        var arguments = Arguments(operation.Arguments, operation.Constructor!.Parameters.Length, frame);
        object value;
        if (type.IsValueType) throw TraceError.Unsupported(operation, "'" + type.Name + "' is a struct; a model may use classes, records and tuples");
        if (Names.Full(type) == "System.Collections.Generic.List") value = new ListValue(arguments is [ListValue items] ? items.Items : new List<object?>(), false);
        else if (Names.IsDsl(type, "ConfigField")) value = new TupleValue(arguments);
        else value = Construct(type, operation.Constructor, arguments, operation);
        return Initialize(value, operation.Initializer, frame);
    }

    public override object? VisitWith(IWithOperation operation, Frame frame) => Visit(operation.Operand, frame) switch
    {
        ModelObject { Type.IsRecord: true } o => Initialize(o.Clone(), operation.Initializer, frame),
        null => throw TraceError.Value(operation, "'with' is applied to null"),
        var other => throw TraceError.Unsupported(operation, "'with' is applied to " + Show.Value(other) + "; a model may use it on records"),
    };

    object Initialize(object value, IObjectOrCollectionInitializerOperation? initializer, Frame frame)
    {
        if (initializer is null) return value;
        foreach (var item in initializer.Initializers)
            switch (item)
            {
                case ISimpleAssignmentOperation { Target: IPropertyReferenceOperation { Arguments.Length: 0 } property } assignment: SetProperty(property,
                    value, Visit(assignment.Value, frame)); break;
                case ISimpleAssignmentOperation { Target: IFieldReferenceOperation field } assignment when value is ModelObject o:
                    o.Slots[field.Field.OriginalDefinition] = Visit(assignment.Value, frame);
                    break;
                case IInvocationOperation { TargetMethod.Name: "Add" } add when value is ListValue list
                && add.Arguments.Length == 1: list.Items.Add(Visit(add.Arguments[0].Value, frame)); break;
                default: throw TraceError.Unsupported(item, Describe(item) + " is not an initializer a model may use");
            }
        return value;
    }

    public ModelObject Construct(INamedTypeSymbol type, IMethodSymbol constructor, object?[] arguments, IOperation? at)
    {
        var self = new ModelObject(type);
        Construct(self, constructor.OriginalDefinition, arguments, at);
        return self;
    }

    void Construct(ModelObject self, IMethodSymbol constructor, object?[] arguments, IOperation? at)
    {
        var type = constructor.ContainingType.OriginalDefinition;
        if (type.SpecialType == SpecialType.System_Object || Names.IsDsl(type)) return;
        if (!code.IsHere(type, cancellation)) throw KnownCalls.Outside(at, type);
        var frame = new Frame(constructor, self);
        var primary = code.Primary(constructor, cancellation);
        var body = primary is null ? code.Body(constructor, cancellation) as IConstructorBodyOperation : null;
        foreach (var parameter in constructor.Parameters)
        {
            if (primary is null) frame.Declare(parameter, arguments[parameter.Ordinal]);
            else self.Slots[parameter] = arguments[parameter.Ordinal];
        }
        var first = (body?.Initializer as IExpressionStatementOperation)?.Operation as IInvocationOperation ?? body?.Initializer as IInvocationOperation;
        if (first is not null && SymbolEqualityComparer.Default.Equals(first.TargetMethod.ContainingType.OriginalDefinition, type))
        {
            Construct(self, first.TargetMethod.OriginalDefinition, Arguments(first.Arguments, first.TargetMethod.Parameters.Length, frame), first);
        }
        else
        {
            // C#'s order: the fields of the derived class, then the base class, then the body.
            if (primary is not null && type.IsRecord)
                foreach (var parameter in constructor.Parameters)
                    if (type.GetMembers(parameter.Name).OfType<IPropertySymbol>().FirstOrDefault() is { } property
                        && property.DeclaringSyntaxReferences.Any(r => r.GetSyntax(cancellation) is ParameterSyntax))
                        self.Slots[property] = arguments[parameter.Ordinal];
            foreach (var (member, value) in code.Initializers(type, cancellation)) self.Slots[member] = Visit(value, frame);
            ConstructBase(self, type, primary, first, frame, at);
        }
        if (body is not null) Run(body, frame, at);
    }

    void ConstructBase(ModelObject self, INamedTypeSymbol type, TypeDeclarationSyntax? primary, IInvocationOperation? call, Frame frame, IOperation? at)
    {
        if (type.BaseType is not { SpecialType: not SpecialType.System_Object } ancestor) return;
        if (primary?.BaseList?.Types.OfType<PrimaryConstructorBaseTypeSyntax>().FirstOrDefault() is { } clause)
            call = code.Operation(clause, cancellation) as IInvocationOperation ?? throw new InvalidCode();
        if (call is not null) Construct(self, call.TargetMethod.OriginalDefinition, Arguments(call.Arguments, call.TargetMethod.Parameters.Length, frame), call);
        else if (ancestor.InstanceConstructors.FirstOrDefault(c => c.Parameters.All(p => p.IsOptional || p.IsParams)) is not { } constructor) throw new InvalidCode();
        else Construct(self, constructor.OriginalDefinition,
            constructor.Parameters.Select(p => p.HasExplicitDefaultValue ? p.ExplicitDefaultValue : p.IsParams ? new ListValue(new object?[0], true) : null).ToArray(), at);
    }

    // --- members ------------------------------------------------------------------------------------------------

    public override object? VisitFieldReference(IFieldReferenceOperation operation, Frame frame)
    {
        if (operation.Field.IsStatic) return operation.Field.IsConst ? operation.Field.ConstantValue : Static(operation, operation.Field);
        return Member(operation, Visit(operation.Instance, frame));
    }

    public override object? VisitPropertyReference(IPropertyReferenceOperation operation, Frame frame)
    {
        if (operation.Property.IsStatic) return Static(operation, operation.Property);
        var instance = Visit(operation.Instance, frame);
        if (operation.Arguments.Length == 0) return Member(operation, instance);
        if (instance is not ModelObject self)
        {
            var items = Items(operation, instance);
            return items[Index(operation, items.Count, operation.Arguments.Length == 1 ? Visit(operation.Arguments[0].Value, frame) : null)];
        }
        var indexer = Override(self.Type, operation.Property.OriginalDefinition);
        return Call(operation, indexer.GetMethod!, self, Arguments(operation.Arguments, indexer.Parameters.Length, frame));
    }

    object? Member(IMemberReferenceOperation operation, object? instance)
    {
        switch (instance, operation)
        {
            case (null, _) when operation.Member.ContainingType.OriginalDefinition.SpecialType == SpecialType.System_Nullable_T
            && operation.Member.Name == "HasValue": return false;
            case (null, _): throw TraceError.Value(operation, "'" + operation.Member.Name + "' is read from null");
            case (ModelObject self, IFieldReferenceOperation field): return self.Slots.TryGetValue(field.Field.OriginalDefinition, out var stored) ? stored
            : Default(operation, field.Type);
            case (ModelObject self, IPropertyReferenceOperation reference):
                var property = reference.Instance?.Syntax is BaseExpressionSyntax ? reference.Property.OriginalDefinition
                    : Override(self.Type, reference.Property.OriginalDefinition);
                if (self.Slots.TryGetValue(property, out var value)) return value;
                if (code.IsAutomatic(property)) return Default(operation, property.Type);
                return Call(operation, property.GetMethod!, self, new object?[0]);
            case (TupleValue tuple, IFieldReferenceOperation { Field.CorrespondingTupleField: { } element }):
                return tuple.Items[int.Parse(element.Name.Substring(4), System.Globalization.CultureInfo.InvariantCulture) - 1];
            case (ListValue list, _) when operation.Member.Name is "Length" or "Count": return list.Items.Count;
            case (string text, _) when operation.Member.Name == "Length": return text.Length;
            case (_, _) when operation.Member.ContainingType.OriginalDefinition.SpecialType == SpecialType.System_Nullable_T: return operation.Member.Name == "HasValue"
            ? true : instance;
            case (PositionValue position, _): return operation.Member.Name == "Distance" ? position.Distance : position.Head;
            case (TensorValue, _): throw TraceError.Unsupported(operation, "'" + operation.Member.Name + "' of a tensor is not known while tracing");
            default: throw TraceError.Unsupported(operation, "'" + operation.Member.Name + "' of " + Show.Value(instance) + " is not something a model may use");
        }
    }

    /// <summary>A property of the model itself.</summary>
    public object? Read(IPropertySymbol property, ModelObject self) =>
        self.Slots.TryGetValue(property, out var value) ? value : Call(null, property.GetMethod!, self, new object?[0]);

    object? SetProperty(IPropertyReferenceOperation reference, object? instance, object? value, params object?[] index)
    {
        if (instance is not ModelObject self) throw TraceError.Value(reference, "'" + reference.Property.Name + "' of " + Show.Value(instance) + " cannot be set");
        var property = Override(self.Type, reference.Property.OriginalDefinition);
        if (code.IsAutomatic(property)) self.Slots[property] = value;
        else if (property.SetMethod is { } setter) Call(reference, setter, self, index.Append(value).ToArray());
        else throw TraceError.Unsupported(reference, "'" + property.Name + "' cannot be set");
        return value;
    }

    /// <summary>A static member: its initializer runs once per trace; a computed property runs each time. It may not call ops, as C# would run it once per process.</summary>
    object? Static(IOperation at, ISymbol member)
    {
        if (_statics.TryGetValue(member, out var known)) return known;
        if (member is IPropertySymbol { GetMethod: { } getter } && !code.IsAutomatic((IPropertySymbol)member) && code.Body(getter, cancellation) is not null)
            return Call(at, getter, null, new object?[0]);
        var value = code.Initializer(member, cancellation);
        if (value is null && !code.IsHere(member, cancellation)) return KnownCalls.Static(at, member);
        // C# runs the static initializers of a class from top to bottom, so one that reads a later one sees its default; here that is an error rather than another value.
        if (_runningStatics.Contains(member, SymbolEqualityComparer.Default) || value is not null && _runningStatics.Count > 0 && IsBefore(_runningStatics.Peek(), member))
            throw TraceError.Value(at, "'" + member.Name + "' has no value yet when the initializer of '" + _runningStatics.Peek().Name + "' reads it; declare it before");
        _runningStatics.Push(member);
        var count = trace.Nodes.Count;
        var result = value is null ? Default(at, (member as IFieldSymbol)?.Type ?? ((IPropertySymbol)member).Type) : Visit(value, new Frame(null, null));
        if (trace.Nodes.Count != count)
            throw TraceError.Unsupported(value!, "the static member '" + member.Name + "' calls ops; make it a field of the module, as a static is made once per process");
        _runningStatics.Pop();
        return _statics[member] = result;
    }

    static bool IsBefore(ISymbol first, ISymbol second) =>
        SymbolEqualityComparer.Default.Equals(first.ContainingType, second.ContainingType) && first.Locations[0].SourceTree == second.Locations[0].SourceTree
        && first.Locations[0].SourceSpan.Start < second.Locations[0].SourceSpan.Start;
}
