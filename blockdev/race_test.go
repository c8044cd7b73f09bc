//go:build race

package blockdev

func init() { raceOn = true }
