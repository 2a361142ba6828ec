package manual

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func program() *cobra.Command {
	nothing := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "tool", Short: "A tool", Version: "v1", Args: cobra.NoArgs, Run: nothing}
	root.AddCommand(
		&cobra.Command{Use: "do THING", Short: "Do it", Long: "do does it.", Example: "  tool do it", Run: nothing},
		&cobra.Command{Use: "secret", Hidden: true, Run: nothing})
	return Add(root)
}

func TestMan(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1735689600")
	first, second := pages(t), pages(t)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the same program gives other pages (-first +second)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"tool-do.1", "tool.1"}, slices.Sorted(maps.Keys(first))); diff != "" {
		t.Errorf("pages (-want +got)\n%s", diff)
	}
	for _, want := range []string{`"tool v1"`, "Jan 2025", "tool do it", "do does it."} {
		if !strings.Contains(first["tool-do.1"], want) {
			t.Errorf("tool-do.1 has no %q:\n%s", want, first["tool-do.1"])
		}
	}
}

func pages(t *testing.T) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "man")
	root := program()
	root.SetArgs([]string{"man", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	return all
}

// The help shows what is for users.
func TestHidden(t *testing.T) {
	var help strings.Builder
	root := program()
	root.SetOut(&help)
	root.SetArgs([]string{"--help"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"man", "completion", "secret"} {
		if strings.Contains(help.String(), "  "+word) {
			t.Errorf("help shows %s:\n%s", word, help.String())
		}
	}
}
