package main

import (
	"github.com/redoubt-dr/redoubt/internal/config"
	"github.com/redoubt-dr/redoubt/internal/hook"
)

// checkScripts refuses freeze scripts that a freeze would refuse.
func checkScripts(cfg *config.Config) error {
	if cfg.Source == nil {
		return nil
	}
	for _, g := range cfg.Source.Groups {
		if g.Hooks.Scripts == "" {
			continue
		}
		if _, err := hook.Dir(g.Hooks.Scripts).All(); err != nil {
			return err
		}
	}
	return nil
}
