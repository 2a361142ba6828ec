package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/report/labreport"
	"github.com/anyedge/anyedge/pkg/lab"
)

// maxResult bounds what is read as a result, in bytes.
const maxResult = 256 << 20

func compareCommand() *cobra.Command {
	var output, html string
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Set two results side by side: medians, ranges, and where one is clearly lower",
		Long: "compare reads two results: the file result.json that run left, or its directory. It says of a figure that one is lower\n" +
			"only where every run of it lies below every run of the other, with at least 4 runs each.",
		Example: "  edgelab compare out/before out/after\n" +
			"  edgelab compare out/before out/after --html compare.html\n" +
			"  edgelab compare -o json a.json b.json",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("-o %q: want text or json", output)
			}
			a, err := readResult(args[0])
			if err != nil {
				return err
			}
			b, err := readResult(args[1])
			if err != nil {
				return err
			}
			c := labreport.Compare(a, b)
			if html != "" {
				if err := writeFile(html, c.WriteHTML); err != nil {
					return fmt.Errorf("--html: %w", err)
				}
			}
			if output == "json" {
				return c.WriteJSON(cmd.OutOrStdout())
			}
			return c.WriteText(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	cmd.Flags().StringVar(&html, "html", "", "write the comparison as a page with pictures to `FILE`, too")
	return cmd
}

// readResult reads what `edgelab run` left in a directory, or such a file.
func readResult(path string) (labreport.Named, error) {
	file := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		file = filepath.Join(path, "result.json")
	}
	f, err := os.Open(file)
	if err != nil {
		return labreport.Named{}, fmt.Errorf("%w: want the directory of a run, or its result.json", err)
	}
	defer f.Close()
	n := labreport.Named{Name: filepath.Clean(path)}
	if err := json.NewDecoder(io.LimitReader(f, maxResult)).Decode(&n.Result); err != nil {
		return n, fmt.Errorf("%s: not a result of edgelab run: %w", file, err)
	}
	if len(n.Result.Runs) == 0 {
		return n, fmt.Errorf("%s: not a result of edgelab run: it has no runs", file)
	}
	return n, nil
}

// writeFile leaves a whole file or none.
func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".edgelab-*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// writeReport leaves the page of a result beside it and returns its name.
func writeReport(dir string, r lab.Result, t lab.Topology) (string, error) {
	name := filepath.Join(dir, "report.html")
	return name, writeFile(name, func(w io.Writer) error { return labreport.Write(w, r, t) })
}
