//! Where a row stands on the map: UMAP of the kNN graph, to two dimensions for a picture or a few for clustering, and
//! PCA of the vectors.

mod curve;
mod fft;
mod forces;
pub mod pca;
mod repulsion;
mod spectral;
pub mod tsne;
pub mod umap;
