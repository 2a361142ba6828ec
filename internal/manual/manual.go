// Package manual gives every program the hidden command that writes its man pages, so that packages need no other tool.
package manual

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Add gives a program's root command `man DIR` and, where it has no commands of its own, `completion SHELL`. Neither is
// shown in its help: they are for packagers.
func Add(root *cobra.Command) *cobra.Command {
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(&cobra.Command{
		Use: "man DIR", Short: "Write the man pages", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return write(root, args[0]) },
	})
	return root
}

// write makes a page for the program and one for each command that its help shows. Their date is SOURCE_DATE_EPOCH,
// if that is set.
func write(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Source: root.Name() + " " + root.Version, Manual: "anyedge"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return fmt.Errorf("man pages: %w", err)
	}
	return nil
}
