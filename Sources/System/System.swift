// Sources of System.
