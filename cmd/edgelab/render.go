package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func renderCommand(labs *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write a lab's topology in another program's format",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(renderGNS3Command(labs))
	return cmd
}

func renderGNS3Command(labs *string) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "gns3 LAB",
		Short: "Write a lab as a GNS3 2.2 project",
		Long: "gns3 writes DIR/LAB.gns3 and the files of its nodes. The same topology gives the same bytes. A project that is\n" +
			"there already is replaced, together with what GNS3 kept in its project-files.",
		Example: "  edgelab render gns3 quickstart\n  edgelab render gns3 ./my-lab/my-lab.clab.yml --out ~/GNS3/projects/my-lab",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := renderGNS3(*labs, args[0], out)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), file)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the project's `DIR` (default topology/gns3/LAB)")
	return cmd
}

// renderGNS3 returns the path of the project's file.
func renderGNS3(labs, name, out string) (string, error) {
	path, err := topologyFile(labs, name)
	if err != nil {
		return "", err
	}
	topology, err := readTopology(path)
	if err != nil {
		return "", err
	}
	files, err := topology.GNS3()
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if out == "" {
		out = filepath.Join("topology", "gns3", topology.Name)
	}
	project := filepath.Join(out, topology.Name+".gns3")
	if err := clearProject(out, project); err != nil {
		return "", err
	}
	return project, writeFiles(out, files)
}

// clearProject makes room for a project in dir, and touches nothing that is not one.
func clearProject(dir, project string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(project); err != nil {
		return fmt.Errorf("%s holds other files and no %s: name a new directory with --out", dir, filepath.Base(project))
	}
	return os.RemoveAll(filepath.Join(dir, "project-files"))
}

func writeFiles(dir string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
