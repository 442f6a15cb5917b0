return Graph.Finetune.CommandLine.Run(args, GraphModels.All);
