namespace Graph.Finetune.Data;

/// <summary>
/// The prompt that instruction data is trained with, word for word the one of Stanford Alpaca
/// (github.com/tatsu-lab/stanford_alpaca), so that adapters and prompts of other tools fit.
/// </summary>
public static class Alpaca
{
    public static string Prompt(string instruction, string input) => input.Length == 0
        ? $"Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### Response:\n"
        : "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n"
          + $"### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n";
}
