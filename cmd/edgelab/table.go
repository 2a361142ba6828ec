package main

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/report/labreport"
)

func tableCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "table DIR...",
		Short: "Show many results in one table",
		Long: "table reads every result.json that run left in or below the directories. Of one experiment in several labs it\n" +
			"shows the ratio of each median MTTR to the first one's: name the lab first that the others are measured by.",
		Example: "  edgelab table out/quickstart\n" +
			"  edgelab table out/frr out/frr-plain out/frr-exabgp -o markdown",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var results []labreport.Named
			for _, dir := range args {
				found, err := readResults(dir)
				if err != nil {
					return err
				}
				results = append(results, found...)
			}
			t := labreport.NewTable(results...)
			switch output {
			case "text":
				return t.WriteText(cmd.OutOrStdout())
			case "markdown":
				return t.WriteMarkdown(cmd.OutOrStdout())
			case "json":
				return t.WriteJSON(cmd.OutOrStdout())
			default:
				return fmt.Errorf("-o %q: want text, markdown or json", output)
			}
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, markdown or json")
	return cmd
}

// readResults reads the result of a run, or all below a directory, in the order of their names.
func readResults(path string) (results []labreport.Named, err error) {
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name != path && d.Name() != "result.json" {
			return err
		}
		n, err := readResult(name)
		n.Name = filepath.Dir(name)
		results = append(results, n)
		return err
	})
	if err == nil && len(results) == 0 {
		err = fmt.Errorf("%s: no result.json of edgelab run in or below it", path)
	}
	return results, err
}
