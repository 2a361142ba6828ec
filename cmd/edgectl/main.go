// Command edgectl is the operator's hand: it asks the edgeagent of this host, and gives it orders.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/manual"
	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/siteapi"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return 0
	}
	fmt.Fprintln(stderr, "edgectl:", err)
	return 1
}

// options are the flags of all commands.
type options struct {
	socket string
}

func (o *options) client() *siteapi.Client { return siteapi.NewClient(o.socket) }

func command() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "edgectl",
		Short: "Ask the edgeagent of this host, and give it orders",
		Long: "edgectl talks to the edgeagent of this host over its socket (api: {socket: ...} in its file). Whoever may write to the\n" +
			"socket may drain: root, and the socket's group.",
		Example: "  edgectl status\n" +
			"  edgectl explain 2001:db8:53::53\n" +
			"  edgectl drain dns --wait\n" +
			"  edgectl undrain dns --wait\n" +
			"  edgectl status -o json | jq -r '.services[] | select(.state != \"up\") | .name + \": \" + .reason'",
		Version:       program.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&o.socket, "socket", siteapi.DefaultSocket, "the agent's `SOCKET`")
	root.AddCommand(statusCommand(&o), explainCommand(&o), watchCommand(&o), drainCommand(&o), undrainCommand(&o))
	return manual.Add(root)
}
