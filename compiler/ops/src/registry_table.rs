//! The one list of operators. A line: the module (a file of this crate, declared by `lib.rs` from this table), and for
//! each operator in it the name, the first opset covered, the function, and the domain where that is not ONNX's own.
//!
//! rustfmt does not see modules declared by a macro; `cargo xtask tidy` formats them.

macro_rules! for_each_family {
    ($use:ident) => {
        $use! {
            activation {
                BiasGelu 1 bias_gelu in "com.microsoft", BiasSplitGelu 1 bias_split_gelu in "com.microsoft", Celu 12 celu, Elu 6 elu,
                FastGelu 1 fast_gelu in "com.microsoft", Gelu 20 gelu, Gelu 1 gelu in "com.microsoft", HardSigmoid 6 hard_sigmoid, HardSwish 14 hard_swish,
                LeakyRelu 6 leaky_relu, Mish 18 mish, PRelu 6 prelu,
                QuickGelu 1 quick_gelu in "com.microsoft", Relu 6 relu, Selu 6 selu, Shrink 9 shrink,
                Softplus 1 softplus, Softsign 1 softsign, SwiGLU 28 swiglu, Swish 24 swish,
                ThresholdedRelu 10 thresholded_relu
            }
            affine_grid { AffineGrid 20 affine_grid }
            arithmetic {
                Add 6 add, And 1 and, BiasAdd 1 sum in "com.microsoft", BitShift 11 bit_shift, BitwiseAnd 18 and, BitwiseOr 18 or, BitwiseXor 18 xor,
                Div 6 div, Equal 1 equal, Greater 1 greater, GreaterOrEqual 12 greater_or_equal, Less 1 less,
                LessOrEqual 12 less_or_equal, Max 6 max, Mean 6 mean, Min 6 min, Mod 10 modulo, Mul 6 mul, Or 1 or,
                Pow 1 pow, Sub 6 sub, Sum 6 sum, Where 9 where_, Xor 1 xor
            }
            attention { Attention 23 attention, FlexAttention 1 flex_attention in "ai.onnx.preview" }
            batch_norm { BatchNormalization 6 batch_normalization }
            cast { BitCast 26 bit_cast, Cast 6 cast, CastLike 15 cast_like }
            causal_conv { CausalConvWithState 27 causal_conv_with_state }
            center_crop_pad { CenterCropPad 18 center_crop_pad }
            clip { Clip 6 clip }
            col2im { Col2Im 18 col2im, MaxUnpool 9 max_unpool }
            concat { Concat 4 concat, Split 2 split }
            constant { Constant 1 constant, ConstantOfShape 9 constant_of_shape, EyeLike 9 eye_like }
            control { If 1 if_, Loop 1 loop_ }
            conv { Conv 1 conv, NhwcConv 1 nhwc_conv in "com.microsoft" }
            conv_transpose {
                ConvTranspose 1 conv_transpose,
                ConvTransposeWithDynamicPads 1 conv_transpose_with_dynamic_pads in "com.microsoft"
            }
            crop_and_resize { CropAndResize 1 crop_and_resize in "com.microsoft" }
            cumulative { CumProd 26 cum_prod, CumSum 11 cum_sum }
            deform_conv { DeformConv 19 deform_conv }
            det { Det 11 det, Inverse 1 inverse in "com.microsoft" }
            distance { CDist 1 cdist in "com.microsoft" }
            einsum { Einsum 12 einsum }
            expand { Expand 8 expand, Tile 6 tile }
            fused_attention {
                Attention 1 attention in "com.microsoft",
                DecoderMaskedMultiHeadAttention 1 decoder_masked_multi_head_attention in "com.microsoft",
                MultiHeadAttention 1 multi_head_attention in "com.microsoft", QAttention 1 q_attention in "com.microsoft"
            }
            fused_matmul {
                FusedConv 1 fused_conv in "com.microsoft", FusedGemm 1 fused_gemm in "com.microsoft",
                FusedMatMul 1 fused_matmul in "com.microsoft", NhwcFusedConv 1 nhwc_fused_conv in "com.microsoft",
                TransposeMatMul 1 fused_matmul in "com.microsoft"
            }
            gated_bias { GatedRelativePositionBias 1 gated_relative_position_bias in "com.microsoft" }
            gather {
                Gather 1 gather, GatherElements 11 gather_elements, GatherND 11 gather_nd,
                GatherND 1 gather_nd in "com.microsoft", UnfoldTensor 1 unfold_tensor in "com.microsoft"
            }
            group_query_attention { GroupQueryAttention 1 group_query_attention in "com.microsoft" }
            hash { MurmurHash3 1 murmur_hash3 in "com.microsoft" }
            identity { Dropout 6 dropout, Identity 1 identity }
            integer_matmul {
                DynamicQuantizeMatMul 1 dynamic_quantize_matmul in "com.microsoft", MatMulInteger 10 matmul_integer,
                MatMulInteger16 1 matmul_integer16 in "com.microsoft",
                MatMulIntegerToFloat 1 matmul_integer_to_float in "com.microsoft",
                QGemm 1 q_gemm in "com.microsoft", QLinearMatMul 10 q_linear_matmul
            }
            linear_attention { LinearAttention 27 linear_attention }
            loss {
                NegativeLogLikelihoodLoss 12 negative_log_likelihood_loss,
                SoftmaxCrossEntropyLoss 12 softmax_cross_entropy_loss
            }
            lrn { LRN 1 lrn }
            matmul { Gemm 6 gemm, MatMul 1 matmul }
            matmul_nbits {
                GatherBlockQuantized 1 gather_block_quantized in "com.microsoft",
                MatMulBnb4 1 matmul_bnb4 in "com.microsoft", MatMulNBits 1 matmul_nbits in "com.microsoft"
            }
            ml_categories {
                CategoryMapper 1 category_mapper in "ai.onnx.ml", LabelEncoder 1 label_encoder in "ai.onnx.ml",
                OneHotEncoder 1 one_hot_encoder in "ai.onnx.ml", ZipMap 1 zip_map in "ai.onnx.ml"
            }
            ml_features {
                ArrayFeatureExtractor 1 array_feature_extractor in "ai.onnx.ml", Binarizer 1 binarizer in "ai.onnx.ml",
                FeatureVectorizer 1 feature_vectorizer in "ai.onnx.ml", Imputer 1 imputer in "ai.onnx.ml",
                Normalizer 1 normalizer in "ai.onnx.ml", Scaler 1 scaler in "ai.onnx.ml"
            }
            ml_linear {
                LinearClassifier 1 linear_classifier in "ai.onnx.ml", LinearRegressor 1 linear_regressor in "ai.onnx.ml"
            }
            ml_maps { CastMap 1 cast_map in "ai.onnx.ml", DictVectorizer 1 dict_vectorizer in "ai.onnx.ml" }
            ml_svm {
                SVMClassifier 1 svm_classifier in "ai.onnx.ml", SVMRegressor 1 svm_regressor in "ai.onnx.ml"
            }
            ml_trees {
                TreeEnsemble 5 tree_ensemble in "ai.onnx.ml",
                TreeEnsembleClassifier 1 tree_ensemble_classifier in "ai.onnx.ml",
                TreeEnsembleRegressor 1 tree_ensemble_regressor in "ai.onnx.ml"
            }
            non_max_suppression { NonMaxSuppression 10 non_max_suppression }
            norm {
                GroupNormalization 18 group_normalization, InstanceNormalization 6 instance_normalization,
                LayerNormalization 1 layer_normalization, LpNormalization 1 lp_normalization,
                MeanVarianceNormalization 9 mean_variance_normalization, RMSNormalization 23 rms_normalization,
                SimplifiedLayerNormalization 1 rms_normalization
            }
            one_hot { OneHot 9 one_hot, Trilu 14 trilu, Trilu 1 trilu in "com.microsoft" }
            pad { Pad 2 pad, Pad 1 pad_by_inputs in "com.microsoft" }
            pool {
                AveragePool 1 average_pool, GlobalAveragePool 1 global_average_pool, GlobalLpPool 1 global_lp_pool,
                GlobalMaxPool 1 global_max_pool, LpPool 1 lp_pool, MaxPool 1 max_pool,
                NhwcMaxPool 1 nhwc_max_pool in "com.microsoft"
            }
            q_linear {
                MulInteger 1 mul_integer in "com.microsoft", QLinearAdd 1 add in "com.microsoft",
                QLinearAveragePool 1 average_pool in "com.microsoft", QLinearConcat 1 concat in "com.microsoft",
                QLinearGlobalAveragePool 1 global_average_pool in "com.microsoft",
                QLinearLeakyRelu 1 leaky_relu in "com.microsoft", QLinearMul 1 mul in "com.microsoft",
                QLinearReduceMean 1 reduce_mean in "com.microsoft", QLinearSigmoid 1 sigmoid in "com.microsoft",
                QLinearSoftmax 1 softmax in "com.microsoft", QLinearWhere 1 where_ in "com.microsoft",
                ReduceSumInteger 1 reduce_sum_integer in "com.microsoft"
            }
            quantize {
                DequantizeLinear 10 dequantize_linear, DequantizeLinear 1 dequantize_linear in "com.microsoft",
                DynamicQuantizeLinear 11 dynamic_quantize_linear, QuantizeLinear 10 quantize_linear,
                QuantizeLinear 1 quantize_linear in "com.microsoft"
            }
            quantized_conv {
                ConvInteger 10 conv_integer, QLinearConv 10 q_linear_conv, QLinearConv 1 q_linear_conv in "com.microsoft"
            }
            random {
                Bernoulli 15 bernoulli, Multinomial 7 multinomial, RandomNormal 1 random_normal,
                RandomNormalLike 1 random_normal_like, RandomUniform 1 random_uniform,
                RandomUniformLike 1 random_uniform_like
            }
            range { Range 11 range, Range 1 range in "com.microsoft" }
            recurrent {
                DynamicQuantizeLSTM 1 dynamic_quantize_lstm in "com.microsoft", GRU 7 gru, LSTM 7 lstm, RNN 7 rnn
            }
            reduce {
                ReduceL1 1 reduce_l1, ReduceL2 1 reduce_l2, ReduceLogSum 1 reduce_log_sum,
                ReduceLogSumExp 1 reduce_log_sum_exp, ReduceMax 1 reduce_max, ReduceMean 1 reduce_mean,
                ReduceMin 1 reduce_min, ReduceProd 1 reduce_prod, ReduceSum 1 reduce_sum,
                ReduceSumSquare 1 reduce_sum_square
            }
            reshape { ExpandDims 1 expand_dims in "com.microsoft", Flatten 1 flatten, Reshape 5 reshape, Squeeze 1 squeeze, Unsqueeze 1 unsqueeze }
            resize { Resize 10 resize, Upsample 7 upsample }
            resize_size { }
            resize_taps { }
            reverse_sequence { ReverseSequence 10 reverse_sequence }
            roi_align { RoiAlign 10 roi_align }
            rotary_embedding {
                RotaryEmbedding 23 rotary_embedding, RotaryEmbedding 1 rotary_embedding_by_position in "com.microsoft"
            }
            sampling { GridSample 16 grid_sample, GridSample 1 grid_sample in "com.microsoft" }
            scan { Scan 8 scan }
            scatter { Scatter 9 scatter_elements, ScatterElements 11 scatter_elements, ScatterND 11 scatter_nd }
            select_indices {
                Compress 9 compress, NonZero 9 non_zero, Unique 11 unique,
                Unique 1 unique_by_occurrence in "com.microsoft"
            }
            sequence_map { SequenceMap 17 sequence_map }
            sequence {
                ConcatFromSequence 11 concat_from_sequence, Optional 15 optional,
                OptionalGetElement 15 optional_get_element, OptionalHasElement 15 optional_has_element,
                SequenceAt 11 sequence_at, SequenceConstruct 11 sequence_construct, SequenceEmpty 11 sequence_empty,
                SequenceErase 11 sequence_erase, SequenceInsert 11 sequence_insert,
                SequenceLength 11 sequence_length, SplitToSequence 11 split_to_sequence
            }
            shape { Shape 1 shape, Size 1 size }
            skip_norm {
                EmbedLayerNormalization 1 embed_layer_normalization in "com.microsoft",
                GroupNorm 1 group_norm in "com.microsoft",
                QEmbedLayerNormalization 1 q_embed_layer_normalization in "com.microsoft",
                SkipGroupNorm 1 skip_group_norm in "com.microsoft",
                SkipLayerNormalization 1 skip_layer_normalization in "com.microsoft",
                SkipSimplifiedLayerNormalization 1 skip_simplified_layer_normalization in "com.microsoft"
            }
            slice { Slice 1 slice }
            softmax { BiasSoftmax 1 bias_softmax in "com.microsoft", Hardmax 1 hardmax, LogSoftmax 1 log_softmax, Softmax 1 softmax }
            spectral {
                DFT 17 dft, Irfft 1 irfft in "com.microsoft", Rfft 1 rfft in "com.microsoft", STFT 17 stft
            }
            string_normalizer { StringNormalizer 10 string_normalizer }
            string_ops {
                RegexFullMatch 20 regex_full_match, StringConcat 20 string_concat, StringSplit 20 string_split
            }
            tfidf { TfIdfVectorizer 9 tf_idf_vectorizer }
            tensor_scatter { TensorScatter 24 tensor_scatter }
            top_k { ArgMax 1 arg_max, ArgMin 1 arg_min, TopK 1 top_k }
            training {
                Adagrad 1 adagrad in "ai.onnx.preview.training", Adam 1 adam in "ai.onnx.preview.training",
                Momentum 1 momentum in "ai.onnx.preview.training"
            }
            transpose { DepthToSpace 1 depth_to_space, SpaceToDepth 1 space_to_depth, Transpose 1 transpose }
            unary {
                Abs 6 abs, Acos 7 acos, Acosh 9 acosh, Asin 7 asin, Asinh 9 asinh, Atan 7 atan, Atanh 9 atanh,
                BitwiseNot 18 bitwise_not, Ceil 6 ceil, Cos 7 cos, Cosh 9 cosh, Erf 9 erf, Exp 6 exp, Floor 6 floor,
                IsInf 10 is_inf, IsNaN 9 is_nan, Log 6 log, Neg 6 neg, Not 1 not, Reciprocal 6 reciprocal,
                Round 11 round, Sigmoid 6 sigmoid, Sign 9 sign, Sin 7 sin, Sinh 9 sinh, Sqrt 6 sqrt, Tan 7 tan,
                Tanh 6 tanh
            }
            window { }
            window_function {
                BlackmanWindow 17 blackman, HammingWindow 17 hamming, HannWindow 17 hann,
                MelWeightMatrix 17 mel_weight_matrix
            }
        }
    };
}

/// `mod` items of the families.
macro_rules! declare_modules {
    ($($module:ident { $($operator:ident $since:literal $function:ident $(in $domain:literal)?),* $(,)? })*) => {
        $(mod $module;)*
    };
}
