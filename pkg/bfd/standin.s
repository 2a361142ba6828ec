// This file makes the compiler accept functions without a body, which standin_run.go links to.
