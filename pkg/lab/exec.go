package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Exec becomes a command with the network and files of a node of a lab that is up. It returns only on error.
//
// It goes there in two steps, because a node's process ids mean something only inside: nsenter of util-linux joins the
// lab's process and mount namespaces and runs `edgelab exec` again, which ExecInside then takes to the node.
func (s Sandbox) Exec(node string, argv []string) error {
	pid, err := s.Pid()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	enter := []string{"--target", fmt.Sprint(pid), "--mount", "--pid"}
	if os.Geteuid() != 0 {
		enter = append(enter, "--user", "--preserve-credentials")
	}
	enter = append(enter, "--", exe, "exec", s.Name, node, "--")
	return nsenter(append(enter, argv...), append(os.Environ(), sandboxEnv+"="+s.Dir))
}

// ExecInside is the second step of Exec.
func ExecInside(state, node string, argv []string) error {
	data, err := os.ReadFile(filepath.Join(state, "nodes", node, "pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the lab has no node %s that runs a program", node)
	}
	if err != nil {
		return err
	}
	pid := strings.TrimSpace(string(data))
	if _, err := os.Stat(filepath.Join("/proc", pid)); err != nil {
		return fmt.Errorf("node %s: its program does not run; its log: %s", node, filepath.Join(state, "nodes", node, "log"))
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	path := "PATH=" + filepath.Dir(exe) + ":" + os.Getenv("PATH")
	env := append(withoutEnv(os.Environ(), "PATH", sandboxEnv), path)
	return nsenter(append([]string{"--target", pid, "--mount", "--net", "--"}, argv...), env)
}

func nsenter(args, env []string) error {
	path, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("nsenter (package util-linux) is needed: %w", err)
	}
	return syscall.Exec(path, append([]string{"nsenter"}, args...), env)
}

// withoutEnv returns env without the variables of these names.
func withoutEnv(env []string, names ...string) []string {
	return slices.DeleteFunc(env, func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(names, name)
	})
}
