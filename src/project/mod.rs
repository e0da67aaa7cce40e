//! Where a row stands on the map: UMAP of the kNN graph, to two dimensions for a picture or a few for clustering, and
//! PCA of the vectors.

mod curve;
mod forces;
pub mod fuzzy;
pub mod pca;
mod spectral;
pub mod umap;
