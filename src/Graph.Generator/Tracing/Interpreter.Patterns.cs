using System.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace Graph.Generator.Tracing;

/// <summary>is, switch and their patterns, all decided while tracing.</summary>
sealed partial class Interpreter
{
    public override object? VisitIsPattern(IIsPatternOperation operation, Frame frame) => Matches(operation.Pattern, Visit(operation.Value, frame), frame);
    public override object? VisitIsType(IIsTypeOperation operation, Frame frame) =>
        Is(operation, Visit(operation.ValueOperand, frame), operation.TypeOperand) != operation.IsNegated;

    public override object? VisitSwitchExpression(ISwitchExpressionOperation operation, Frame frame)
    {
        var value = Visit(operation.Value, frame);
        foreach (var arm in operation.Arms)
            if (Matches(arm.Pattern, value, frame) && (arm.Guard is null || Truth(arm.Guard, frame))) return Visit(arm.Value, frame);
        throw TraceError.Value(operation, "no arm of the switch takes " + Show.Value(value));
    }

    bool Matches(ICaseClauseOperation clause, object? value, Frame frame) => clause switch
    {
        ISingleValueCaseClauseOperation single => Same(single, value, Visit(single.Value, frame)),
        IPatternCaseClauseOperation pattern => Matches(pattern.Pattern, value, frame) && (pattern.Guard is null || Truth(pattern.Guard, frame)),
        IRelationalCaseClauseOperation relation => Arithmetic.Binary(relation, relation.Relation, value, Visit(relation.Value, frame)) is true,
        _ => throw TraceError.Unsupported(clause, Describe(clause) + " is not a case a model may use"),
    };

    bool Matches(IPatternOperation pattern, object? value, Frame frame)
    {
        switch (pattern)
        {
            case IDiscardPatternOperation: return true;
            case IConstantPatternOperation constant: return Same(constant, value, Visit(constant.Value, frame));
            case IRelationalPatternOperation relation: return value is not null && Arithmetic.Binary(relation, relation.OperatorKind, value, Visit(relation.Value, frame)) is true;
            case INegatedPatternOperation not: return !Matches(not.Pattern, value, frame);
            case IBinaryPatternOperation { OperatorKind: BinaryOperatorKind.And } and: return Matches(and.LeftPattern, value, frame) && Matches(and.RightPattern, value, frame);
            case IBinaryPatternOperation or: return Matches(or.LeftPattern, value, frame) || Matches(or.RightPattern, value, frame);
            case ITypePatternOperation type: return Is(type, value, type.MatchedType);
            case IDeclarationPatternOperation declaration:
                if (!declaration.MatchesNull && (declaration.MatchedType is null ? value is null : !Is(declaration, value, declaration.MatchedType))) return false;
                if (declaration.DeclaredSymbol is { } symbol) frame.Declare(symbol, value);
                return true;
            case IRecursivePatternOperation recursive:
                if (value is null || !(value is TupleValue || Is(recursive, value, recursive.MatchedType))) return false;
                if (recursive.DeconstructionSubpatterns.Length > 0)
                {
                    var items = value as TupleValue
                        ?? throw TraceError.Unsupported(recursive, "a positional pattern in a model takes tuples only, but this is " + Show.Value(value));
                    for (var i = 0; i < recursive.DeconstructionSubpatterns.Length; i++) if (!Matches(recursive.DeconstructionSubpatterns[i], items.Items[i], frame)) return false;
                }
                foreach (var property in recursive.PropertySubpatterns)
                    if (!Matches(property.Pattern, property.Member is IMemberReferenceOperation member ? Member(member, value)
                        : throw TraceError.Unsupported(property, Describe(property) + " is not a pattern a model may use"), frame)) return false;
                if (recursive.DeclaredSymbol is { } whole) frame.Declare(whole, value);
                return true;
            default: throw TraceError.Unsupported(pattern, Describe(pattern) + " is not a pattern a model may use");
        }
    }

    static bool Is(IOperation at, object? value, ITypeSymbol? type)
    {
        if (type is INamedTypeSymbol { OriginalDefinition.SpecialType: SpecialType.System_Nullable_T } nullable) type = nullable.TypeArguments[0];
        return value switch
        {
            null => false,
            _ when type is null or { SpecialType: SpecialType.System_Object } => true,
            ModelObject o => Inherits(o.Type, type!),
            TensorValue => Names.IsTensor(type),
            bool => type!.SpecialType == SpecialType.System_Boolean,
            int => type!.SpecialType == SpecialType.System_Int32 || type.TypeKind == TypeKind.Enum,
            long => type!.SpecialType == SpecialType.System_Int64,
            double => type!.SpecialType == SpecialType.System_Double,
            float => type!.SpecialType == SpecialType.System_Single,
            char => type!.SpecialType == SpecialType.System_Char,
            string => type!.SpecialType == SpecialType.System_String,
            _ => throw TraceError.Unsupported(at, "whether " + Show.Value(value) + " is a " + type!.Name + " cannot be told while tracing"),
        };
    }

    static bool Inherits(INamedTypeSymbol type, ITypeSymbol ancestor)
    {
        for (INamedTypeSymbol? t = type; t is not null; t = t.BaseType) if (SymbolEqualityComparer.Default.Equals(t.OriginalDefinition, ancestor.OriginalDefinition)) return true;
        return type.AllInterfaces.Any(i => SymbolEqualityComparer.Default.Equals(i.OriginalDefinition, ancestor.OriginalDefinition));
    }

    /// <summary>a == b for what has a value while tracing; two tensors have none.</summary>
    static bool Same(IOperation at, object? left, object? right)
    {
        if (left is null || right is null) return left is null && right is null;
        if (left is TensorValue || right is TensorValue)
            throw TraceError.Compared(at, left, right);
        if (left is TupleValue a && right is TupleValue b) return a.Items.Length == b.Items.Length && a.Items.Zip(b.Items, (x, y) => Same(at, x, y)).All(same => same);
        if (left is ModelObject { Type.IsRecord: true } or FunctionValue)
            throw TraceError.Unsupported(at, Show.Value(left) + " is compared with " + Show.Value(right) + "; a model may compare numbers, texts and null");
        return left.Equals(right);
    }
}
