package deploy_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// install returns a prefix with everything in it.
func install(t *testing.T) (prefix string) {
	t.Helper()
	prefix = filepath.Join(t.TempDir(), "usr")
	cmd := exec.CommandContext(t.Context(), "../tools/install", bin)
	cmd.Env = append(os.Environ(), "PREFIX="+prefix, "DESTDIR=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tools/install: %v\n%s", err, out)
	}
	return prefix
}

// tree returns the files below dir with their modes and contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = info.Mode().String() + "\n" + string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every program comes with its pages and completions, every unit and sample is there, nothing else is.
func TestInstall(t *testing.T) {
	files := tree(t, install(t))
	want := []string{"lib/sysusers.d/anyedge.conf", "lib/tmpfiles.d/anyedge.conf"}
	for _, p := range matches(t, bin+"/*") {
		want = append(want, "bin/"+p, "share/man/man1/"+p+".1", "share/bash-completion/completions/"+p,
			"share/zsh/site-functions/_"+p, "share/fish/vendor_completions.d/"+p+".fish")
	}
	for _, unit := range matches(t, "systemd/*.service") {
		want = append(want, "lib/systemd/system/"+unit)
	}
	for _, sample := range matches(t, "../docs/samples/*") {
		want = append(want, "share/doc/anyedge/samples/"+sample)
	}
	for _, name := range want {
		if files[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	for name, text := range files {
		known := slices.Contains(want, name) || strings.HasPrefix(name, "share/doc/anyedge/") || strings.HasPrefix(name, "share/man/man1/edge")
		if mode, _, _ := strings.Cut(text, "\n"); !known || mode != modeOf(name) {
			t.Errorf("%s, %s: not one to install, or not with this mode", name, mode)
		}
	}
}

func modeOf(name string) string {
	if strings.HasPrefix(name, "bin/") {
		return "-rwxr-xr-x"
	}
	return "-rw-r--r--"
}

func matches(t *testing.T, pattern string) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return names
}

// Packages are to be reproducible: installing once more gives the same bytes at another prefix but for the paths in units.
func TestInstallTwice(t *testing.T) {
	first, second := tree(t, install(t)), tree(t, install(t))
	for name := range first {
		if strings.HasPrefix(name, "lib/systemd/") {
			delete(first, name)
			delete(second, name)
		}
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("(-first +second)\n%s", diff)
	}
}

// A shell can read the completions.
func TestCompletions(t *testing.T) {
	prefix := install(t)
	for shell, pattern := range map[string]string{"bash": "share/bash-completion/completions/*", "zsh": "share/zsh/site-functions/*"} {
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("no %s: its completions are not read", shell)
			continue
		}
		paths, err := filepath.Glob(filepath.Join(prefix, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
		}
		for _, p := range paths {
			run(t, shell, "-n", p)
		}
	}
}
