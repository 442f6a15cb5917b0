using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Threading;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Operations;

namespace Graph.Generator.Tracing;

/// <summary>
/// Runs model code symbolically: everything but tensors is computed, ops are written down. An allow list: a construct without a Visit method here is an error at its own syntax.
/// This part has the statements; expressions, objects, calls and patterns are in the files beside it.
/// </summary>
sealed partial class Interpreter(ModelCode code, TraceWriter trace, CancellationToken cancellation) : OperationVisitor<Frame, object?>
{
    // Far above what a model needs (the 27B of Gemma 2 takes 0.3 million steps), and reached within seconds.
    public const int MaxSteps = 20_000_000;
    public const int MaxDepth = 400;

    enum Flow { Next, Return, Break, Continue }

    Flow _flow;
    object? _returned;
    int _steps;

    public override object? Visit(IOperation? operation, Frame frame)
    {
        if (operation is null) return null;
        if (++_steps > MaxSteps) throw new TraceError(DiagnosticDescriptors.Endless,
            operation, "the model does not end: " + MaxSteps.ToString("N0", System.Globalization.CultureInfo.InvariantCulture)
                + " steps were traced and this one is next; check the loop's condition");
        if ((_steps & 255) == 0) cancellation.ThrowIfCancellationRequested();
        var constant = operation.ConstantValue;
        return constant.HasValue ? constant.Value : operation.Accept(this, frame);
    }

    public override object? DefaultVisit(IOperation operation, Frame frame) =>
        throw TraceError.Unsupported(operation, Describe(operation) + " is not something a model may use; docs/architecture.md lists the C# that is traced");

    public override object? VisitInvalid(IInvalidOperation operation, Frame frame) => throw new InvalidCode();

    static string Describe(IOperation operation)
    {
        var kind = operation.Kind is OperationKind.None ? operation.Syntax.GetType().Name.Replace("Syntax", "")
            : operation is ILoopOperation loop ? loop.LoopKind + "Loop" : operation.Kind.ToString();
        var text = operation.Syntax.ToString().Split('\n')[0].Trim();
        return "'" + (text.Length > 60 ? text.Substring(0, 57) + "..." : text) + "' (" + kind + ")";
    }

    // --- running a body -----------------------------------------------------------------------------------------

    object? Run(IOperation body, Frame frame, IOperation? at)
    {
        if (trace.Calls.Count >= MaxDepth || !HasStack())
            throw new TraceError(DiagnosticDescriptors.Endless, at ?? body,
                "the model does not end: calls are nested " + (trace.Calls.Count + 1).ToString(System.Globalization.CultureInfo.InvariantCulture)
                    + " deep; check what ends the recursion");
        trace.Calls.Add(at);
        var (flow, returned) = (_flow, _returned);
        (_flow, _returned) = (Flow.Next, null);
        Visit(body, frame);
        var result = _returned;
        (_flow, _returned) = (flow, returned);
        trace.Calls.RemoveAt(trace.Calls.Count - 1);
        return result;
    }

    static bool HasStack()
    {
        try
        {
            RuntimeHelpers.EnsureSufficientExecutionStack();
            return true;
        }
        catch (InsufficientExecutionStackException)
        {
            return false;
        }
    }

    public override object? VisitMethodBodyOperation(IMethodBodyOperation operation, Frame frame) => Visit(operation.BlockBody ?? operation.ExpressionBody, frame);
    public override object? VisitConstructorBodyOperation(IConstructorBodyOperation operation, Frame frame) => Visit(operation.BlockBody ?? operation.ExpressionBody, frame);
    public override object? VisitLocalFunction(ILocalFunctionOperation operation, Frame frame) => null;

    // --- statements ---------------------------------------------------------------------------------------------

    public override object? VisitBlock(IBlockOperation operation, Frame frame)
    {
        List<ScopeValue>? open = null;
        foreach (var statement in operation.Operations)
        {
            if (statement is IUsingDeclarationOperation declaration)
            {
                Visit(declaration.DeclarationGroup, frame);
                foreach (var local in declaration.DeclarationGroup.GetDeclaredVariables())
                    (open ??= new()).Add(frame.Find(local)!.Value as ScopeValue ?? throw TraceError.Unsupported(declaration, "using takes only a Scope(\"name\") in a model"));
            }
            else Visit(statement, frame);
            if (_flow != Flow.Next) break;
        }
        if (open is not null) foreach (var scope in Enumerable.Reverse(open)) trace.Close(scope);
        return null;
    }

    public override object? VisitUsing(IUsingOperation operation, Frame frame)
    {
        var resource = Visit(operation.Resources, frame);
        if (operation.Resources is IVariableDeclarationGroupOperation group) resource = frame.Find(group.GetDeclaredVariables()[0])!.Value;
        var scope = resource as ScopeValue ?? throw TraceError.Unsupported(operation.Resources, "using takes only a Scope(\"name\") in a model");
        Visit(operation.Body, frame);
        trace.Close(scope);
        return null;
    }

    public override object? VisitExpressionStatement(IExpressionStatementOperation operation, Frame frame) => Visit(operation.Operation, frame);
    public override object? VisitEmpty(IEmptyOperation operation, Frame frame) => null;

    public override object? VisitVariableDeclarationGroup(IVariableDeclarationGroupOperation operation, Frame frame)
    {
        foreach (var declaration in operation.Declarations)
            foreach (var declarator in declaration.Declarators)
            {
                if (declarator.Symbol.IsRef) throw TraceError.Unsupported(declarator, "'" + declarator.Symbol.Name + "' is a reference; a model may use values only");
                frame.Declare(declarator.Symbol, declarator.GetVariableInitializer() is { } initializer ? Visit(initializer.Value, frame) : null);
            }
        return null;
    }

    public override object? VisitReturn(IReturnOperation operation, Frame frame)
    {
        if (operation.Kind != OperationKind.Return) return DefaultVisit(operation, frame);
        _returned = Visit(operation.ReturnedValue, frame);
        _flow = Flow.Return;
        return null;
    }

    public override object? VisitBranch(IBranchOperation operation, Frame frame)
    {
        _flow = operation.BranchKind switch { BranchKind.Break => Flow.Break, BranchKind.Continue => Flow.Continue, _ => throw TraceError.Unsupported(operation,
            Describe(operation) + " is not something a model may use; use a loop") };
        return null;
    }

    public override object? VisitConditional(IConditionalOperation operation, Frame frame) =>
        Truth(operation.Condition, frame) ? Visit(operation.WhenTrue, frame) : operation.WhenFalse is null ? null : Visit(operation.WhenFalse, frame);

    public override object? VisitThrow(IThrowOperation operation, Frame frame)
    {
        // new ArgumentException("…"): the first text among the arguments is the message.
        var creation = operation.Exception is IConversionOperation c ? c.Operand : operation.Exception;
        var message = (creation as IObjectCreationOperation)?.Arguments.Where(a => a.Parameter?.Type.SpecialType == SpecialType.System_String)
            .Select(a => Visit(a.Value, frame) as string).FirstOrDefault();
        throw TraceError.Value(operation, message ?? "the model throws here, without a message");
    }

    bool Truth(IOperation condition, Frame frame) => Visit(condition, frame) switch
    {
        bool b => b,
        TensorValue t => throw new TraceError(DiagnosticDescriptors.TensorCondition, condition, "the condition is " + Show.Value(t) + "; it must be known while tracing"),
        var other => throw TraceError.Value(condition, "the condition is " + Show.Value(other) + ", neither true nor false"),
    };

    // --- loops --------------------------------------------------------------------------------------------------

    public override object? VisitForLoop(IForLoopOperation operation, Frame frame)
    {
        foreach (var before in operation.Before) Visit(before, frame);
        while (operation.Condition is null || Truth(operation.Condition, frame))
        {
            Visit(operation.Body, frame);
            if (EndsLoop()) break;
            foreach (var step in operation.AtLoopBottom) Visit(step, frame);
        }
        return null;
    }

    public override object? VisitWhileLoop(IWhileLoopOperation operation, Frame frame)
    {
        bool Again() => operation.Condition is null || Truth(operation.Condition, frame) != operation.ConditionIsUntil;
        while (!operation.ConditionIsTop || Again())
        {
            Visit(operation.Body, frame);
            if (EndsLoop() || (!operation.ConditionIsTop && !Again())) break;
        }
        return null;
    }

    public override object? VisitForEachLoop(IForEachLoopOperation operation, Frame frame)
    {
        var items = Items(operation.Collection, Visit(operation.Collection, frame));
        for (var i = 0; i < items.Count; i++)
        {
            if (operation.LoopControlVariable is IVariableDeclaratorOperation variable) frame.Declare(variable.Symbol, items[i]);
            else Assign(operation.LoopControlVariable, items[i], frame);
            Visit(operation.Body, frame);
            if (EndsLoop()) break;
        }
        return null;
    }

    /// <summary>After a round: true when the loop is over; a return stays pending.</summary>
    bool EndsLoop()
    {
        if (_flow is Flow.Next or Flow.Continue)
        {
            _flow = Flow.Next;
            return false;
        }
        if (_flow == Flow.Break) _flow = Flow.Next;
        return true;
    }

    static IReadOnlyList<object?> Items(IOperation at, object? value) => value switch
    {
        ListValue list => list.Items,
        string text => text.Select(c => (object?)c).ToArray(),
        _ => throw TraceError.Value(at, "expected an array or a list, but this is " + Show.Value(value)),
    };

    public override object? VisitSwitch(ISwitchOperation operation, Frame frame)
    {
        var value = Visit(operation.Value, frame);
        var chosen = operation.Cases.FirstOrDefault(c => c.Clauses.Any(k => k is not IDefaultCaseClauseOperation && Matches(k, value, frame)))
            ?? operation.Cases.FirstOrDefault(c => c.Clauses.Any(k => k is IDefaultCaseClauseOperation));
        if (chosen is null) return null;
        foreach (var statement in chosen.Body)
        {
            Visit(statement, frame);
            if (_flow != Flow.Next) break;
        }
        if (_flow == Flow.Break) _flow = Flow.Next;
        return null;
    }
}
