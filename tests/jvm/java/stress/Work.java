package stress;

/** One kind of work, done in rounds by one thread. */
interface Work {
  void round() throws Exception;
}
