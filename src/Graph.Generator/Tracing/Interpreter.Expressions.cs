using System;
using System.Globalization;
using System.Linq;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace Graph.Generator.Tracing;

/// <summary>Values: variables, operators, conversions, texts, lists, tuples, assignment.</summary>
sealed partial class Interpreter
{
    // --- variables ----------------------------------------------------------------------------------------------

    public override object? VisitLocalReference(ILocalReferenceOperation operation, Frame frame)
    {
        if (frame.Find(operation.Local) is { } cell) return cell.Value;
        if (!operation.IsDeclaration) throw TraceError.Value(operation, "'" + operation.Local.Name + "' has no value here");
        frame.Declare(operation.Local, null);
        return null;
    }

    public override object? VisitParameterReference(IParameterReferenceOperation operation, Frame frame)
    {
        if (frame.Find(operation.Parameter) is { } cell) return cell.Value;
        if (frame.Self is { } self && self.Slots.TryGetValue(operation.Parameter, out var value)) return value;
        throw TraceError.Value(operation, "'" + operation.Parameter.Name + "' has no value here");
    }

    public override object? VisitInstanceReference(IInstanceReferenceOperation operation, Frame frame) =>
        operation.ReferenceKind == InstanceReferenceKind.ContainingTypeInstance ? frame.Self : operation.ReferenceKind == InstanceReferenceKind.ImplicitReceiver
        ? frame.ConditionalReceiver : DefaultVisit(operation, frame);

    public override object? VisitDiscardOperation(IDiscardOperation operation, Frame frame) => null;
    public override object? VisitParenthesized(IParenthesizedOperation operation, Frame frame) => Visit(operation.Operand, frame);
    public override object? VisitDefaultValue(IDefaultValueOperation operation, Frame frame) => Default(operation, operation.Type);
    public override object? VisitLiteral(ILiteralOperation operation, Frame frame) => operation.ConstantValue.Value;

    static object? Default(IOperation at, ITypeSymbol? type) => type switch
    {
        null or { IsReferenceType: true } or { OriginalDefinition.SpecialType: SpecialType.System_Nullable_T } => null,
        { SpecialType: SpecialType.System_Int32 } or { TypeKind: TypeKind.Enum } => (object)0,
        { SpecialType: SpecialType.System_Int64 } => 0L,
        { SpecialType: SpecialType.System_Double } => 0.0,
        { SpecialType: SpecialType.System_Single } => 0f,
        { SpecialType: SpecialType.System_Boolean } => false,
        { SpecialType: SpecialType.System_Char } => '\0',
        _ => throw TraceError.Unsupported(at, "a value of " + type.Name + " is not something a model may use"),
    };

    // --- operators ----------------------------------------------------------------------------------------------

    public override object? VisitBinaryOperator(IBinaryOperation operation, Frame frame)
    {
        if (operation.OperatorKind == BinaryOperatorKind.ConditionalAnd) return Truth(operation.LeftOperand, frame) && Truth(operation.RightOperand, frame);
        if (operation.OperatorKind == BinaryOperatorKind.ConditionalOr) return Truth(operation.LeftOperand, frame) || Truth(operation.RightOperand, frame);
        var (left, right) = (Visit(operation.LeftOperand, frame), Visit(operation.RightOperand, frame));
        return Binary(operation, operation.OperatorKind, operation.OperatorMethod, left, right, operation.IsLifted, operation.IsChecked);
    }

    object? Binary(IOperation at, BinaryOperatorKind kind, IMethodSymbol? method, object? left, object? right, bool lifted, bool isChecked)
    {
        if (method is not null && code.Op(method) is { } op) return Emit(at, op, new[] { left, right });
        // Numbers compare as C# does it: NaN equals nothing.
        if (kind is BinaryOperatorKind.Equals or BinaryOperatorKind.NotEquals && (method is null || !HasBody(method))
            && (left, right) is not (double or float, double or float)) return Same(at, left, right) == (kind == BinaryOperatorKind.Equals);
        if (method is not null && HasBody(method)) return Call(at, method, null, new[] { left, right });
        if (lifted && (left is null || right is null))
            return kind is BinaryOperatorKind.LessThan or BinaryOperatorKind.LessThanOrEqual or BinaryOperatorKind.GreaterThan or BinaryOperatorKind.GreaterThanOrEqual
                ? false : (object?)null;
        // "layer " + 3: the compiler leaves the conversion to text to the concatenation.
        if (kind == BinaryOperatorKind.Add && at.Type?.SpecialType == SpecialType.System_String) return Text(at, left) + Text(at, right);
        return Arithmetic.Binary(at, kind, left, right, isChecked);
    }

    public override object? VisitUnaryOperator(IUnaryOperation operation, Frame frame)
    {
        var value = Visit(operation.Operand, frame);
        if (operation.OperatorMethod is { } method) return code.Op(method) is { } op ? Emit(operation, op, new[] { value }) : Call(operation, method, null, new[] { value });
        return operation.IsLifted && value is null ? null : Arithmetic.Unary(operation, operation.OperatorKind, value);
    }

    public override object? VisitConversion(IConversionOperation operation, Frame frame)
    {
        if (operation.Operand is IAnonymousFunctionOperation or IMethodReferenceOperation) return Visit(operation.Operand, frame);
        var value = Visit(operation.Operand, frame);
        if (operation.OperatorMethod is { } method) return code.Op(method) is { } op ? Emit(operation, op, new[] { value }) : Call(operation, method, null, new[] { value });
        if (operation.IsTryCast) return value is not null && Is(operation, value, operation.Type) ? value : null;
        if (value is ModelObject o && operation.Type is { SpecialType: not SpecialType.System_Object } target && !operation.IsImplicit && !Inherits(o.Type, target))
            throw TraceError.Value(operation, Show.Value(value) + " is not a " + target.Name);
        return Arithmetic.Convert(operation, value, operation.Type, operation.IsChecked);
    }

    public override object? VisitCoalesce(ICoalesceOperation operation, Frame frame) => Visit(operation.Value, frame) ?? Visit(operation.WhenNull, frame);
    public override object? VisitCoalesceAssignment(ICoalesceAssignmentOperation operation, Frame frame) =>
        Visit(operation.Target, frame) ?? Assign(operation.Target, Visit(operation.Value, frame), frame);

    public override object? VisitConditionalAccess(IConditionalAccessOperation operation, Frame frame)
    {
        var receiver = Visit(operation.Operation, frame);
        if (receiver is null) return null;
        var outer = frame.ConditionalReceiver;
        frame.ConditionalReceiver = receiver;
        var value = Visit(operation.WhenNotNull, frame);
        frame.ConditionalReceiver = outer;
        return value;
    }

    public override object? VisitConditionalAccessInstance(IConditionalAccessInstanceOperation operation, Frame frame) => frame.ConditionalReceiver;

    // --- texts, lists, tuples -----------------------------------------------------------------------------------

    public override object? VisitInterpolatedString(IInterpolatedStringOperation operation, Frame frame)
    {
        var text = new StringBuilder();
        foreach (var part in operation.Parts)
            switch (part)
            {
                case IInterpolatedStringTextOperation literal: text.Append((string)literal.Text.ConstantValue.Value!); break;
                case IInterpolationOperation hole:
                    var value = Visit(hole.Expression, frame);
                    var shown = hole.FormatString is null ? Text(hole, value)
                        : value is IFormattable number ? number.ToString((string)Visit(hole.FormatString, frame)!, CultureInfo.InvariantCulture) : Text(hole, value);
                    var width = hole.Alignment is null ? 0 : (int)Visit(hole.Alignment, frame)!;
                    text.Append(width < 0 ? shown.PadRight(-width) : shown.PadLeft(width));
                    break;
                default: throw TraceError.Unsupported(part, Describe(part) + " is not something a model may use");
            }
        return text.ToString();
    }

    static string Text(IOperation at, object? value) => value switch
    {
        null => "",
        bool b => b ? "True" : "False",
        string or char or int or long or double or float => Convert.ToString(value, CultureInfo.InvariantCulture),
        _ => throw TraceError.Unsupported(at, Show.Value(value) + " as text is not something a model may use; write numbers or texts"),
    };

    public override object? VisitArrayCreation(IArrayCreationOperation operation, Frame frame)
    {
        if (operation.Initializer is { } initializer) return new ListValue(initializer.ElementValues.Select(e => Visit(e, frame)).ToArray(), true);
        if (operation.DimensionSizes.Length != 1)
            throw TraceError.Unsupported(operation, "an array of " + operation.DimensionSizes.Length + " dimensions is not something a model may use");
        var element = ((IArrayTypeSymbol)operation.Type!).ElementType;
        var length = (int)Visit(operation.DimensionSizes[0], frame)!;
        if (length is < 0 or > 1_000_000) throw TraceError.Value(operation, "an array cannot have " + Show.Value(length) + " elements while tracing");
        return new ListValue(Enumerable.Repeat(Default(operation, element), length), true);
    }

    public override object? VisitCollectionExpression(ICollectionExpressionOperation operation, Frame frame) =>
        new ListValue(operation.Elements.SelectMany(e => e is ISpreadOperation spread ? Items(spread, Visit(spread.Operand, frame)).ToArray() : new[] { Visit(e, frame) })
        .ToArray(), operation.Type is IArrayTypeSymbol);

    public override object? VisitArrayElementReference(IArrayElementReferenceOperation operation, Frame frame)
    {
        var items = Items(operation, Visit(operation.ArrayReference, frame));
        return items[Index(operation, items.Count, operation.Indices.Length == 1 ? Visit(operation.Indices[0], frame) : null)];
    }

    static int Index(IOperation at, int count, object? index) =>
        index is not int i ? throw TraceError.Unsupported(at, Describe(at) + ": a model may index by int only")
        : i >= 0 && i < count ? i : throw TraceError.Value(at, "index " + Show.Value(i) + " is outside of the list of " + Show.Value(count));

    public override object? VisitTuple(ITupleOperation operation, Frame frame) => new TupleValue(operation.Elements.Select(e => Visit(e, frame)).ToArray());

    // --- assignment ---------------------------------------------------------------------------------------------

    public override object? VisitSimpleAssignment(ISimpleAssignmentOperation operation, Frame frame) =>
        operation.IsRef ? DefaultVisit(operation, frame) : Assign(operation.Target, Visit(operation.Value, frame), frame);

    public override object? VisitCompoundAssignment(ICompoundAssignmentOperation operation, Frame frame)
    {
        var left = Visit(operation.Target, frame);
        if (operation.InConversion.IsNumeric) left = Arithmetic.Convert(operation, left, operation.Value.Type, operation.IsChecked);
        var value = Binary(operation, operation.OperatorKind, operation.OperatorMethod, left, Visit(operation.Value, frame), operation.IsLifted, operation.IsChecked);
        return Assign(operation.Target, operation.OutConversion.IsNumeric ? Arithmetic.Convert(operation, value, operation.Type, operation.IsChecked) : value, frame);
    }

    public override object? VisitIncrementOrDecrement(IIncrementOrDecrementOperation operation, Frame frame)
    {
        var before = Visit(operation.Target, frame);
        if (operation.OperatorMethod is not null) return DefaultVisit(operation, frame);
        var kind = operation.Kind == OperationKind.Increment ? BinaryOperatorKind.Add : BinaryOperatorKind.Subtract;
        var after = Arithmetic.Binary(operation, kind, before, Arithmetic.Convert(operation, 1, operation.Type, false), operation.IsChecked);
        Assign(operation.Target, after, frame);
        return operation.IsPostfix ? before : after;
    }

    public override object? VisitDeconstructionAssignment(IDeconstructionAssignmentOperation operation, Frame frame)
    {
        var value = Visit(operation.Value, frame);
        Assign(operation.Target, value, frame);
        return value;
    }

    object? Assign(IOperation target, object? value, Frame frame)
    {
        switch (target)
        {
            case ILocalReferenceOperation local:
                if (local.IsDeclaration || frame.Find(local.Local) is not { } cell) frame.Declare(local.Local, value);
                else cell.Value = value;
                return value;
            case IParameterReferenceOperation parameter:
                if (frame.Find(parameter.Parameter) is { } argument) argument.Value = value;
                else if (frame.Self is { } self && self.Slots.ContainsKey(parameter.Parameter)) self.Slots[parameter.Parameter] = value;
                else throw TraceError.Unsupported(target, "'" + parameter.Parameter.Name + "' cannot be assigned here");
                return value;
            case IDeclarationExpressionOperation declaration: return Assign(declaration.Expression, value, frame);
            case IDiscardOperation: return value;
            case ITupleOperation tuple:
                var items = value as TupleValue ?? throw TraceError.Unsupported(target, "only a tuple can be taken apart in a model, but this is " + Show.Value(value));
                for (var i = 0; i < tuple.Elements.Length; i++) Assign(tuple.Elements[i], items.Items[i], frame);
                return value;
            case IMemberReferenceOperation { Member.IsStatic: true } member: throw TraceError.Unsupported(target,
                "'" + member.Member.Name + "' is static; a model may not assign it");
            case IPropertyReferenceOperation property:
                var instance = Visit(property.Instance, frame);
                var index = Arguments(property.Arguments, property.Property.Parameters.Length, frame);
                return instance is ListValue list && index.Length == 1 ? list.Items[Index(target, list.Items.Count, index[0])] = value
                    : SetProperty(property, instance, value, index);
            case IFieldReferenceOperation field:
                (Visit(field.Instance, frame) as ModelObject
                    ?? throw TraceError.Unsupported(target, Describe(target) + " cannot be assigned in a model")).Slots[field.Field.OriginalDefinition] = value;
                return value;
            case IArrayElementReferenceOperation element when Visit(element.ArrayReference, frame) is ListValue array:
                return array.Items[Index(target, array.Items.Count, element.Indices.Length == 1 ? Visit(element.Indices[0], frame) : null)] = value;
            default: throw TraceError.Unsupported(target, Describe(target) + " cannot be assigned in a model");
        }
    }
}
