// Command kubetools is a Kubernetes control plane in one binary, for tests: etcd, kube-apiserver, kube-controller-manager
// and kube-scheduler, each behind its own name as the first argument. It is a module of its own, so that the
// product depends on none of it.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // the JSON log format
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the clients
	_ "k8s.io/component-base/metrics/prometheus/version"  // metric of the build
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// commands are the programs that the first argument may name, beside etcd, which is no cobra command.
var commands = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllers.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() }, // takes options
}

func main() {
	os.Exit(run())
}

// run hands the rest of the command line to the program that its first word names.
func run() int {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: kubetools etcd|kube-apiserver|kube-controller-manager|kube-scheduler [flags]")
		return 2
	}
	os.Args = os.Args[1:]
	name := os.Args[0]
	if name == "etcd" {
		etcdmain.Main(os.Args)
		return 0
	}
	command, known := commands[name]
	if !known {
		fmt.Fprintf(os.Stderr, "kubetools: no program %q\n", name)
		return 2
	}
	return cli.Run(command())
}
