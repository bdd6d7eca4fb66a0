//go:build setup

package main

// newS3 is in the file that `subgate setup go` prints, which the suite puts beside this one.
func init() { fromSetup = newS3 }
